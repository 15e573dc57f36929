"""Put a method through the property tests that ours pass: what a query's scores may depend on, and what not.

    fsar check-method mymodule.MyMethod [--init '{"depth": 2}'] [--frames 8]
    fsar check-method -c method/clip_mei [--model.method.published_anchors true]

A class is looked for on the Python path and in the current folder and built as YAML would build it, on the toy CLIP
unless ``--init`` names another ``encoder``, and with OTAM where it wants an ``alignment``; or the method is that of
configuration files, with options as for ``fsar test``. A method that may see the other queries of an episode, or their
labels, says so by ``sees_other_queries`` and ``reads_query_labels``: then these are told and do not fail. Exit code 0:
all passed; 1: a property failed; 2: no such method.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from typing import Any

from jsonargparse import ArgumentError

from fsar.build import build
from fsar.commands.look.check_alignment import json_text
from fsar.evaluation.conformance import PROPERTIES, Subject, check
from fsar.method import Method
from fsar.terminal.failure import Options, one_message
from fsar.terminal.usage import Parser, near_class, simplify
from fsar.terminal.user_code import find_user_code

TOY = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": "fsar-tiny", "pretrained": "shapes"}}
USUAL: dict[str, dict[str, Any]] = {"encoder": TOY, "alignment": {"class_path": "fsar.alignment.OTAM"}}
"""What a method is given where it must be given one."""


def build_class(path: str, arguments: dict[str, Any]) -> Method:
    """The method as YAML would build it.

    Raises:
        ValueError: when the class is not found, is no method, or does not take the arguments.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be imported ({error}){near_class(path) or '.'} Write module.Class, from the folder of the "
            "module; or -c FILE for a configuration."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ValueError(f"{path} is no subclass of fsar.method.Method.")
    wanted = inspect.signature(found).parameters
    usual = {k: x for k, x in USUAL.items() if k in wanted and wanted[k].default is inspect.Parameter.empty}
    parser = Parser(exit_on_error=False)
    parser.add_argument("--method", type=Method)
    try:
        parsed = parser.parse_object({"method": {"class_path": path, "init_args": {**usual, **arguments}}})
        method: Method = parser.instantiate(parsed).method
    except (ArgumentError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be built from {arguments}: {simplify(str(error))}") from error
    return method


@one_message(program="fsar check-method")
def main(args: list[str]) -> None:
    """Parse the command line, check, exit with 0, 1 or 2."""
    parser = Options(__doc__, prog="fsar check-method")
    parser.add_argument("method", nargs="?", help="module.Class")
    parser.add_argument("--init", type=json_text, default={}, help="constructor arguments as JSON")
    parser.add_argument("--frames", type=frame_count, default=8, help="frames of a clip")
    own, rest = parser.parse_known_args(args)
    if (own.method is None) == (not rest):
        parser.error("name one method: module.Class, or a configuration with -c FILE")
    find_user_code()
    if own.method is None:
        name, method = "the method", build(rest, device="cpu")[0].method
    else:
        try:
            name, method = own.method, build_class(own.method, own.init)
        except ValueError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
    failed = check(Subject(method, own.frames))
    print(f"\n{name}: " + (f"{failed} of {len(PROPERTIES)} properties failed." if failed else "all passed."))
    sys.exit(1 if failed else 0)


def frame_count(text: str) -> int:
    """What ``--frames`` says."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {text!r}")
    return int(text)
