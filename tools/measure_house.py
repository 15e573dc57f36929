"""How large the house is: longest functions, largest files, fullest folders, lines; then the import contracts.

python tools/measure_house.py
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("fsar", "episodes", "tools", "tests")
FUNCTION, FILE, FOLDER = 60, 300, 12
"""The largest that each may be; folders of the packages alone, without what tests need."""


class House(NamedTuple):
    """Sizes by name, the largest first: lines of functions and of files, Python files of folders."""

    functions: list[tuple[str, int]]
    files: list[tuple[str, int]]
    folders: list[tuple[str, int]]


def measure(root: Path = ROOT) -> House:
    """Sizes of everything in the packages, the tools and the tests."""
    functions, files, folders = Counter[str](), Counter[str](), Counter[str]()
    for file in (file for room in ROOMS for file in (root / room).rglob("*.py")):
        name, text = file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
        files[name] = text.count("\n")
        folders[name.rpartition("/")[0]] += 1
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[f"{name}:{node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
    return House(functions.most_common(), files.most_common(), folders.most_common())


def main() -> int:
    """Print it; gives the exit status of the contracts."""
    house = measure()
    for what, bound, sizes in zip(House._fields, (FUNCTION, FILE, FOLDER), house, strict=True):
        print(f"{what}: {len(sizes)}, median {median(size for _, size in sizes):g}, bound {bound}; the largest:")
        print(*(f"  {size:4} {name}" for name, size in sizes[:8]), sep="\n")
    for room in ROOMS:
        print(f"lines in {room}/: {sum(size for name, size in house.files if name.startswith(f'{room}/')):,}")
    return subprocess.run(["lint-imports"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
