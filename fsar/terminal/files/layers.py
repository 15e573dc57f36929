"""What one configuration file leaves behind for the next, where the next names another source of clips."""

from __future__ import annotations

import inspect
import json
import pkgutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from fsar.terminal.files.config_files import config_files, read_yaml
from fsar.terminal.files.sources import SOURCES

KEY = "data.benchmark"


def set_back(args: Sequence[str]) -> list[str]:
    """Options that give back their defaults to arguments of ``data.benchmark`` that an earlier file set for another
    class. jsonargparse keeps such as both classes have, so that the seed of one source would divide the classes of
    another.

    Args:
        args: the words of a command line, shorthands spelt out; of files the last one wins, and options win over all.
    """
    earlier: set[str] = set()
    own: set[str] = set()
    name = ""
    for said in [*map(_of_file, config_files(args)), _of_options(args)]:
        class_path = said.get("class_path")
        given = set(said.get("init_args") or {})
        if class_path and name and class_path != name:
            earlier, own = earlier | own, given
        else:
            own |= given
        name = class_path or name
    source = _find(name) if earlier - own else None
    parameters = {} if source is None else inspect.signature(source).parameters
    return [
        f"--{KEY}.init_args.{key}={json.dumps(parameters[key].default)}"
        for key in sorted(earlier - own)
        if key in parameters and parameters[key].default is not inspect.Parameter.empty
    ]


def _of_file(name: str) -> dict[str, Any]:
    """What a file says of the benchmark."""
    content = read_yaml(Path(name)) if Path(name).is_file() else None
    for key in KEY.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return {"class_path": content} if isinstance(content, str) else content if isinstance(content, dict) else {}


def _of_options(args: Sequence[str]) -> dict[str, Any]:
    """What options say of it."""
    said: dict[str, Any] = {"init_args": {}}
    for word, after in pairwise([*args, ""]):
        option, equals, value = word.partition("=")
        if option in (f"--{KEY}", f"--{KEY}.class_path"):
            said["class_path"] = value if equals else after
        elif option.startswith(f"--{KEY}."):
            said["init_args"][option.removeprefix(f"--{KEY}.").removeprefix("init_args.")] = None
    return said


def _find(name: str) -> Callable[..., Any] | None:
    """The class of a path, or of the last word of one that ships; None for one that is told as unknown later."""
    path = next((path for path in SOURCES if path.rpartition(".")[2] == name), name)
    try:
        found: Callable[..., Any] = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError):
        return None
    return found
