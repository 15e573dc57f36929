"""Classes drawn for the splits by a seed, and what sources of clips have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

from episodes.files import explain_start
from episodes.listing import Twice, normal, settle
from episodes.splits.split import Benchmark, Split

WAY_OUT = (
    "Delete one of each, or set data.benchmark.twice to drop, which leaves them out, or keep, which takes them all."
)
Fractions = tuple[float, float, float]


def check_options(source: str, fractions: Fractions, twice: Twice) -> None:
    """Raises ValueError for shares that do not add up to 1, or a word that ``twice`` does not know."""
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"{source}: fractions must be three shares that add up to 1, found {fractions}.")
    if twice not in get_args(Twice):
        raise ValueError(f"{source}: twice must be one of {', '.join(get_args(Twice))}; found {twice!r}.")


def explain_root(root: Path, option: str = "root") -> str:
    """How a folder or file that is not there is named: videos move, and so do the folders that runs start in."""
    return explain_start(root, f"data.benchmark.{option}")


def explain_division(source: object, found: Benchmark) -> str:
    """Of classes that a seed divided, how many each split got and what divides them otherwise; "" of listed ones."""
    if getattr(source, "seed", None) is None or not hasattr(source, "fractions"):
        return ""
    counts = ", ".join(f"{name} {len(found.split(name).class_names)}" for name in ("train", "val", "test"))
    return (
        f" A seed divided the classes ({counts}): other data.benchmark.fractions divide them otherwise, with 0 in the "
        "middle without validation; or list them."
    )


def divide(
    classes: Sequence[str], seed: int, fractions: Fractions, what: str, tied: Sequence[Collection[str]] = ()
) -> dict[str, list[str]]:
    """Classes drawn for train, val and test; the same seed draws the same everywhere.

    Args:
        classes: names of all.
        seed: of the draw.
        fractions: shares of train, val and test.
        what: which classes they are, for messages.
        tied: sets of classes of which each goes to one split as a whole; a class in none stands by itself.

    Raises:
        ValueError: when a split gets no class although it has a share.
    """

    def key(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{normal(name)}".encode(errors="surrogateescape")).digest()

    together = {name for part in tied for name in part}
    parts = [sorted(part, key=key) for part in tied] + [[name] for name in classes if name not in together]
    cuts = [round(len(classes) * sum(fractions[:i])) for i in range(4)]
    room = {name: cuts[i + 1] - cuts[i] for i, name in enumerate(("train", "val", "test"))}
    divided: dict[str, list[str]] = {name: [] for name in room}
    for part in sorted(parts, key=lambda part: (-len(part), key(part[0]))):  # without ties as the seed orders them
        split = next((name for name in room if room[name] >= len(part)), max(room, key=lambda name: room[name]))
        divided[split] += part
        room[split] -= len(part)
    for (split, names), share in zip(divided.items(), fractions, strict=True):
        if share and not names:
            most = max(parts, key=len)
            ties = f" {len(most)} of them share groups, and stay together." if len(most) > 1 else ""
            raise ValueError(
                f"{what} are too few to divide by fractions {fractions}: {split} gets none.{ties} Change fractions, "
                "or list the classes."
            )
    return {split: sorted(names, key=normal) for split, names in divided.items()}


def settle_splits(splits: Sequence[Split], twice: Twice, way_out: str) -> tuple[dict[str, str], list[str]]:
    """:func:`episodes.listing.settle` of the clips of all splits, named by their paths."""
    names = [path for split in splits for path in split.paths]
    classes = [split.class_names[label] for split in splits for label in split.labels]
    clips = [(split, video) for split in splits for video in range(len(split))]
    files, spans = [split.path(video) for split, video in clips], [split.span(video) for split, video in clips]
    return settle(files, names, classes, twice, way_out, spans, [split.name for split, _ in clips])
