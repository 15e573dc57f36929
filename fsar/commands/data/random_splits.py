"""``fsar splits --random N``: class splits of one's own clips, drawn by seeds, each as a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from episodes.files import write_atomically
from episodes.splits.drawing import Classes, Drawn, classes_of, draw_splits
from fsar.build import make_parser, parse_options
from fsar.terminal.shown import shown
from fsar.terminal.user_code import find_user_code

NO_GROUPS = (
    "no groups are known: clips of one person or recording may stand in two splits (an episodes.splits.Table with a "
    "column group keeps them in one)"
)


def write_random(count: int, seed: int, out: Path, rest: Sequence[str]) -> list[Path]:
    """Draw, write a file for each split, and say what there is.

    Args:
        count: of splits.
        seed: the first that is tried.
        out: folder of the files, ``split_<seed>.yaml``.
        rest: options of the data, as of ``fsar test``.
    """
    find_user_code()
    parser = make_parser("fsar splits", ("data",))
    config = parse_options(parser, rest)
    source: Any = parser.instantiate(config).data.benchmark
    said: dict[str, Any] = config.clone(with_meta=False).as_dict()["data"]["benchmark"]
    classes = classes_of(source)
    drawn = draw_splits(classes, count, seed, source.fractions, f"{len(classes.names)} classes of {source.name}")
    files = [write_split(each, said, out) for each in drawn]
    for each, file in zip(drawn, files, strict=True):
        told = ", ".join(f"{split} {len(names)}" for split, names in each.classes.items())
        print(shown(f"{file}: seed {each.seed}, classes: {told}; test: {', '.join(each.classes['test'][:4])}"))
    print(shown(f"* {tell_groups(classes)}"))
    return files


def write_split(drawn: Drawn, said: dict[str, Any], out: Path) -> Path:
    """One division as options of data, its classes as lists.

    Args:
        drawn: the division.
        said: class path and options of the source.
        out: folder of the file.
    """
    kept = {k: v for k, v in said["init_args"].items() if v is not None and k != "fractions"}
    benchmark = {
        **said,
        "init_args": {**kept, "seed": None, **drawn.classes},
    }  # as it is laid over the file with a seed
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"split_{drawn.seed}.yaml"
    with write_atomically(file) as part:
        text = yaml.safe_dump({"data": {"benchmark": benchmark}}, sort_keys=False, allow_unicode=True)
        part.write_text(
            f"# classes drawn by seed {drawn.seed}; give it as the last -c of fsar fit or test\n{text}", "utf-8"
        )
    return file


def tell_groups(classes: Classes) -> str:
    """What is known of groups, in a line."""
    if not classes.grouped:
        return NO_GROUPS
    tied = sum(map(len, classes.tied))
    return f"no group crosses a split; {tied} of {len(classes.names)} classes share groups and went together"
