"""Encoders as ``--encoders`` names them, and what each becomes on the command line of a build."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsar.encoders.weights.by_name import RECOMMENDED, options_by_name, split_name
from fsar.terminal.files.aliases import rename_classes
from fsar.terminal.files.config_files import read_yaml
from fsar.terminal.files.shipped import find_shipped


def options_with(args: Sequence[str], word: str) -> list[str]:
    """A command line with the encoder of this name, behind its configuration files and before all other options.

    So ``--model.encoder.precision bf16`` is said of every encoder. Frames are of each encoder's own size, whatever
    ``data.size`` a file names for one of them.

    Args:
        args: without an encoder of their own.
        word: a YAML file, a shipped configuration, or a name as ``predict --encoder`` takes it.

    Raises:
        FileNotFoundError: a file or weights that are not here.
        ValueError: a name that nothing has, or a file that says no encoder.
    """
    last = max((i + 2 for i, arg in enumerate(args) if arg in ("-c", "--config")), default=0)
    last = max([last, *(i + 1 for i, arg in enumerate(args) if arg.startswith(("-c=", "--config=")))])
    size = [] if any(arg.partition("=")[0] == "--data.size" for arg in args) else ["--data.size", "null"]
    return [*args[:last], "--model.encoder", json.dumps(complete(describe(word))), *size, *args[last:]]


def describe(word: str) -> dict[str, Any]:
    """Class path and options of the encoder of this name."""
    file = None if word in RECOMMENDED else find_shipped(word) or find_shipped(f"encoder/{word}")
    if file is None and word.endswith((".yaml", ".yml")):
        file = Path(word)
        if not file.is_file():
            raise FileNotFoundError(f"--encoders {word}: expected a YAML file, but there is no such file.")
    if file is None:
        try:
            made, options = options_by_name(*split_name(word))
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"--encoders {word}: {error}") from error
        return {"class_path": f"fsar.encoders.{made.__name__}", "init_args": options}
    content = rename_classes(read_yaml(file))
    if not isinstance(content, dict) or not isinstance(content.get("class_path"), str):
        raise ValueError(
            f"--encoders {word}: expected class_path and init_args of an encoder, as in configs/encoder/tiny.yaml."
        )
    return content


def complete(part: Any) -> Any:
    """The description of a part with its defaults beside what is said, so that nothing stays of the encoder that a
    configuration names: one class may share options with another."""
    if not isinstance(part, dict) or not isinstance(part.get("class_path"), str):
        return part
    module, _, name = part["class_path"].rpartition(".")
    try:
        made = getattr(importlib.import_module(module or "fsar.encoders"), name)
        known = inspect.signature(made).parameters.values()
    except (ImportError, AttributeError, TypeError, ValueError):
        return part  # the parser says what is wrong with it
    usual = {p.name: p.default for p in known if p.default is not p.empty and is_plain(p.default)}
    said = {key: complete(value) for key, value in (part.get("init_args") or {}).items()}
    return {"class_path": part["class_path"], "init_args": {**usual, **said}}


def is_plain(value: Any) -> bool:
    """Whether a default can stand in a configuration."""
    return value is None or isinstance(value, bool | int | float | str | list | tuple | dict)


def name_folders(words: Sequence[str]) -> dict[str, str]:
    """``{word: folder}`` of the encoders' results, below one: of a file its stem.

    Raises:
        ValueError: two of them would have one folder.
    """
    names = [re.sub(r"[^\w.-]+", "_", shorten(word)) for word in words]
    if twice := next((name for name in names if names.count(name) > 1), None):
        same = [word for word, name in zip(words, names, strict=True) if name == twice]
        raise ValueError(f"--encoders {' '.join(same)}: their results would share the folder {twice}; name them apart.")
    return dict(zip(words, names, strict=True))


def shorten(word: str) -> str:
    """An encoder's name without the folders and suffix of a file in it: ``runs/a.yaml`` is ``a``."""
    head, colon, file = word.rpartition(":")
    plain = Path(file).stem if "/" in file or file.endswith((".yaml", ".yml")) else file
    return f"{head}{colon}{plain}"
