"""The configurations that come with fsar: all of them in a line each, or one to start from.

    fsar configs
    fsar configs method/clip_fsar > mine.yaml

Every command takes their names: `fsar fit -c trainer -c data/shapes_motion -c method/clip_fsar_tiny`. A name has no
suffix; what has one, or starts with ./, is a file of yours: `-c mine.yaml`.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from fsar.terminal.failure import Options, one_message
from fsar.terminal.files.shipped import list_shipped, suggest_shipped

WIDTH = 120


@one_message(program="fsar configs")
def main(args: list[str]) -> None:
    """List them, or print one."""
    parser = Options(__doc__, prog="fsar configs")
    parser.add_argument("name", nargs="?", help="the one to print; `data` or `method/d2st` lists a group")
    name = parser.parse_args(args).name
    shipped = list_shipped()
    if name in shipped:
        print(shipped[name].read_text(encoding="utf-8"), end="")
        return
    if name is not None and not (shipped := {key: file for key, file in shipped.items() if key.startswith(f"{name}/")}):
        hint = suggest_shipped(name) or "; `fsar configs` lists them."
        raise FileNotFoundError(f"there is no shipped configuration {name}{hint}")
    print(describe_all(shipped))


def describe_all(shipped: dict[str, Path]) -> str:
    """A line for each, a blank one between groups: those in no folder, those of data, encoders and methods."""
    groups: dict[str, list[str]] = {}
    width = max(map(len, shipped))
    for name, file in sorted(shipped.items(), key=lambda item: (item[0].count("/") > 0, item[0])):
        about = textwrap.shorten(describe_file(file), WIDTH - width - 2, placeholder=" ...")
        groups.setdefault(name.rpartition("/")[0], []).append(f"{name:{width}}  {about}".rstrip())
    return "\n\n".join("\n".join(lines) for lines in groups.values())


def describe_file(file: Path) -> str:
    """The first line of a configuration's comment; "" when it has none."""
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").rstrip(":.") if first.startswith("#") else ""
