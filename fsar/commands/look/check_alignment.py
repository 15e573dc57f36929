"""Put an alignment of your own through the property tests that ours pass; says in words what failed.

    fsar check-alignment mymodule.MyMetric [--init '{"temperature": 0.1}'] [--channels 16] [--frames 5]

The class is looked for on the Python path and in the current folder, and is built as YAML would build it, so nested
parts are ``{"class_path": ..., "init_args": {...}}``. Exit code 0: all passed; 1: a property failed; 2: no such metric.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Any

from jsonargparse import ArgumentError

from fsar.alignment import Alignment
from fsar.alignment.properties import PROPERTIES, TriedAlignment, check
from fsar.terminal.failure import Options, one_message
from fsar.terminal.usage import PlainParser, near_class, simplify
from fsar.terminal.user_code import find_user_code


def build(path: str, arguments: dict[str, object]) -> Alignment:
    """The metric as YAML would build it; see :func:`build_part`."""
    metric: Alignment = build_part(path, arguments, Alignment)
    return metric


def find_part(path: str, kind: type) -> type:
    """The class of this kind, such as an alignment, that a path names.

    Raises:
        ValueError: when it is not found, or is of another kind.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be imported ({error}){near_class(path) or '.'} Write module.Class, from the folder of the "
            "module."
        ) from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        module = kind.__module__.removesuffix(".base")
        raise ValueError(f"{path} is no subclass of {module}.{kind.__name__}.")
    return found


def build_part(path: str, arguments: dict[str, Any], kind: type) -> Any:
    """A part of this kind as YAML would build it.

    Raises:
        ValueError: when the class is not found, is of another kind, or does not take the arguments.
    """
    find_part(path, kind)
    parser = PlainParser(exit_on_error=False)
    parser.add_argument("--part", type=kind)
    try:
        parsed = parser.parse_object({"part": {"class_path": path, "init_args": arguments}})
        return parser.instantiate(parsed).part
    except (ArgumentError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be built from {arguments}: {simplify(str(error))}") from error


def json_text(text: str) -> Any:
    """What a JSON option says."""
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected JSON such as {{"temperature": 0.1}}, found {text!r}') from None


@one_message(program="fsar check-alignment")
def main(args: list[str]) -> None:
    """Parse the command line, check, exit with 0, 1 or 2."""
    parser = Options(__doc__, prog="fsar check-alignment")
    parser.add_argument("metric", help="module.Class")
    parser.add_argument("--init", type=json_text, default={}, help="constructor arguments as JSON")
    parser.add_argument("--channels", type=int, default=16, help="d of the features that the metric was made for")
    parser.add_argument("--frames", type=int, default=5, help="frames of a clip, at least 5")
    parser.add_argument("--one-length", action="store_true", help="the metric is made for clips of --frames alone")
    arguments = parser.parse_args(args)
    if arguments.frames < 5:
        parser.error(f"--frames must be at least 5, found {arguments.frames}")
    find_user_code()
    try:
        metric = build(arguments.metric, arguments.init)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    failed = check(TriedAlignment(metric, arguments.channels, arguments.frames, not arguments.one_length))
    print(
        f"\n{arguments.metric}: " + (f"{failed} of {len(PROPERTIES)} properties failed." if failed else "all passed.")
    )
    sys.exit(1 if failed else 0)
