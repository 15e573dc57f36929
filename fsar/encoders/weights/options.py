"""Encoders by short names on a command line, and what each becomes there."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsar.encoders.weights.architecture import RECOMMENDED
from fsar.encoders.weights.by_name import options_by_name, split_name
from fsar.terminal.files.aliases import rename_classes
from fsar.terminal.files.config_files import read_yaml
from fsar.terminal.files.shipped import find_shipped
from fsar.terminal.wrong_use import NoSuchFile, WrongUse

OPTION = "--encoder"
LONG = ("--model.encoder", "--model.method.encoder", "--model.method.init_args.encoder")
BEFORE = ("-c", "--config", "--model.method")
"""Options that say which method it is, of which an encoder is a part."""


def spell_encoder(args: Sequence[str]) -> list[str]:
    """A command line with ``--encoder WORD`` as what it is short for.

    Args:
        args: options alone, without the name of a command.

    Raises:
        FileNotFoundError, ValueError: as :func:`options_with`; for an encoder without a name, or with a second one.
    """
    words = [part for arg in args for part in (arg.split("=", 1) if arg.startswith(f"{OPTION}=") else [arg])]
    if OPTION not in words:
        return list(args)
    at = words.index(OPTION)
    rest = words[:at] + words[at + 2 :]
    if not "".join(words[at + 1 : at + 2]).strip() or words[at + 1].startswith("-"):
        raise WrongUse(f"{OPTION}: expected a name behind it, such as small or timm:NAME; `fsar weights` lists them.")
    word = words[at + 1]
    if second := next(
        (arg for arg in rest if arg.partition("=")[0].removesuffix(".class_path") in (OPTION, *LONG)), None
    ):
        raise WrongUse(f"{OPTION} {word} and {second} name the encoder twice: keep one of them.")
    return options_with(rest, word, OPTION)


def options_with(args: Sequence[str], word: str, option: str) -> list[str]:
    """A command line with the encoder of this name, behind what names the method and before all other options.

    So ``--model.encoder.precision bf16`` is said of every encoder. Frames are of each encoder's own size, whatever
    ``data.size`` a file names for one of them.

    Args:
        args: without an encoder of their own, and without the name of a command.
        word: a YAML file, a shipped configuration, or a name as ``predict --encoder`` takes it.
        option: with which it was named, for messages.

    Raises:
        FileNotFoundError: a file or weights that are not here.
        ValueError: a name that nothing has, or a file that says no encoder.
    """
    last = max((i + 2 for i, arg in enumerate(args) if arg in BEFORE), default=0)
    last = max([last, *(i + 1 for i, arg in enumerate(args) if arg.startswith(tuple(f"{each}=" for each in BEFORE)))])
    size = [] if any(arg.partition("=")[0] == "--data.size" for arg in args) else ["--data.size", "null"]
    return [*args[:last], "--model.encoder", json.dumps(complete(describe(word, option))), *size, *args[last:]]


def find_file(word: str, option: str = OPTION) -> Path | None:
    """The YAML that an encoder's name stands for; None for the name of a network."""
    file = None if word in RECOMMENDED else find_shipped(word) or find_shipped(f"encoder/{word}")
    if file is None and word.endswith((".yaml", ".yml")):
        file = Path(word)
        if not file.is_file():
            raise NoSuchFile(f"{option} {word}: expected a YAML file, but there is no such file.")
    return file


def describe(word: str, option: str = OPTION) -> dict[str, Any]:
    """Class path and options of the encoder of this name; messages begin with the ``option`` that named it."""
    file = find_file(word, option)
    if file is None:
        try:
            made, options = options_by_name(*split_name(word))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{option} {word}: {error}") from error
        except ValueError as error:
            raise WrongUse(f"{option} {word}: {error}") from error
        return {"class_path": f"fsar.encoders.{made.__name__}", "init_args": options}
    content = rename_classes(read_yaml(file))
    if not isinstance(content, dict) or not isinstance(content.get("class_path"), str):
        raise WrongUse(
            f"{option} {word}: expected class_path and init_args of an encoder, as in configs/encoder/tiny.yaml."
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
