"""The configurations that come with the package: a name without a suffix is one of them, everything else is a path.

``-c method/clip_fsar`` and ``--model.encoder encoder/tiny`` mean files below :data:`FOLDER`, from whatever folder they
are asked for; ``-c mine.yaml`` and ``-c ./mine`` are files of the user.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
FOLDER = next(
    (each for each in (PACKAGE / "configs", PACKAGE.parent / "configs") if each.is_dir()), PACKAGE / "configs"
)
"""In a checkout a link to ``configs/``; the second is for systems where git makes a plain file of a link."""
PARTS = r"--(?:[\w.]+\.)?encoder"
"""Options that take a shipped configuration of a part by its name."""


def list_shipped() -> dict[str, Path]:
    """``{name: file}`` of all of them."""
    files = sorted(FOLDER.rglob("*.yaml"))
    return {file.relative_to(FOLDER).with_suffix("").as_posix(): file for file in files}


def find_shipped(name: str) -> Path | None:
    """The file of a name; None when it is none of the shipped ones, or reads as a path: with a suffix, or a dot, slash
    or tilde before it."""
    if not re.fullmatch(r"\w[\w/-]*", name):
        return None
    file = FOLDER / f"{name}.yaml"
    return file if file.is_file() else None


def suggest_shipped(name: str) -> str:
    """``; did you mean ... ?`` of the nearest name, also for a path into the folder of a checkout; "" without any."""
    bare = re.sub(r"^(\./)?configs/", "", name).removesuffix(".yaml").removesuffix(".yml")
    known = list(list_shipped())
    last = {each.rpartition("/")[2]: each for each in reversed(known)}
    near = difflib.get_close_matches(bare, known, 1, 0.75) or [
        last[word] for word in difflib.get_close_matches(bare.rpartition("/")[2], last, 1, 0.75)
    ]
    return f"; did you mean {near[0]} ? (`fsar configs` lists what is shipped)" if near else ""


def spell_shipped(args: Sequence[str]) -> list[str]:
    """The words of a command line with the paths of shipped configurations for their names.

    Where a file of the user has the name, too, the shipped one is taken, and a line says how to name the other.
    """
    out = list(args)
    for i, word in enumerate(args):
        option, equals, value = word.partition("=")
        if not equals:
            option, value = args[i - 1] if i else "", word
        part = re.fullmatch(PARTS, option)
        file = find_shipped(value) if part or option in ("-c", "--config") else None
        if file is None and part:
            file = find_shipped(f"encoder/{value}")
        if file is None:
            continue
        if Path(value).is_file():
            sys.stderr.write(f"{option} {value}: the shipped configuration is taken; ./{value} is your file.\n")
        out[i] = f"{option}={file}" if equals else str(file)
    return out
