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
import inspect
import sys
from typing import Any

from fsar.build import build
from fsar.commands.look.check_alignment import build_part, find_part, json_text
from fsar.evaluation.conformance import PROPERTIES, TriedMethod, check
from fsar.method import Method
from fsar.terminal.failure import Options, one_message
from fsar.terminal.user_code import find_user_code

TOY = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": "fsar-tiny", "pretrained": "shapes"}}
USUAL: dict[str, dict[str, Any]] = {"encoder": TOY, "alignment": {"class_path": "fsar.alignment.OTAM"}}
"""What a method is given where it must be given one."""


def build_class(path: str, arguments: dict[str, Any]) -> Method:
    """The method as YAML would build it.

    Raises:
        ValueError: when the class is not found, is no method, or does not take the arguments.
    """
    wanted = inspect.signature(find_part(path, Method)).parameters
    usual = {k: x for k, x in USUAL.items() if k in wanted and wanted[k].default is inspect.Parameter.empty}
    method: Method = build_part(path, {**usual, **arguments}, Method)
    return method


@one_message(program="fsar check-method")
def main(args: list[str]) -> None:
    """Parse the command line, check, exit with 0, 1 or 2."""
    parser = Options(__doc__, prog="fsar check-method")
    by_class = bool(args) and not args[0].startswith("-")  # else what follows an option of -c would be taken for it
    if by_class:
        parser.add_argument("method", help="module.Class")
    parser.add_argument("--init", type=json_text, help="constructor arguments of the class, as JSON")
    parser.add_argument("-c", "--config", action="append", help="a configuration, or several, instead of a class")
    parser.add_argument("--frames", type=frame_count, default=8, help="frames of a clip")
    own, rest = (parser.parse_args(args), []) if by_class else parser.parse_known_args(args)
    if by_class == bool(own.config) or (own.init is not None and not by_class):
        parser.error("name one method: module.Class, with --init if it takes arguments, or a configuration with -c")
    find_user_code()
    if by_class:
        try:
            name, method = own.method, build_class(own.method, own.init or {})
        except ValueError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
    else:
        named = [part for file in own.config for part in ("-c", file)]
        name, method = " ".join(own.config), build([*named, *rest], device="cpu")[0].method
    failed = check(TriedMethod(method, own.frames))
    print(f"\n{name}: " + (f"{failed} of {len(PROPERTIES)} properties failed." if failed else "all passed."))
    sys.exit(1 if failed else 0)


def frame_count(text: str) -> int:
    """What ``--frames`` says."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {text!r}")
    return int(text)
