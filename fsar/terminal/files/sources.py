"""What ``--data.benchmark.help`` tells: where clips and classes may come from."""

from __future__ import annotations

import inspect
import pkgutil
import re
import textwrap

SOURCES = (
    "episodes.splits.Folder",
    "episodes.splits.Table",
    "episodes.splits.Imported",
    "episodes.benchmarks.Published",
    "episodes.benchmarks.Listed",
    "episodes.shapes.Shapes",
)
"""Of benchmarks: what ``data.benchmark`` may name, beside a class of one's own."""


def list_sources() -> str:
    """The sources of benchmarks, each with its first line and the names of its arguments."""
    lines = ["data.benchmark is one of these, or a class of your own with load() -> episodes.splits.Benchmark:", ""]
    for path in SOURCES:
        source = pkgutil.resolve_name(path)
        arguments = inspect.signature(source).parameters.values()
        names = [each.name if each.default is each.empty else f"[{each.name}]" for each in arguments]
        first = " ".join((inspect.getdoc(source) or "").split("\n\n")[0].split())
        first = re.sub(r":\w+:|`", "", first)
        lines += [
            path,
            f"    {first}",
            textwrap.fill(" ".join(names), 110, initial_indent=" " * 4, subsequent_indent=" " * 4),
            "",
        ]
    return "\n".join([*lines, f"--data.benchmark.help {SOURCES[0]} says what each argument means."])
