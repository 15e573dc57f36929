"""What a configuration may say when it comes from others, and what of it is handed on.

A configuration names classes that are imported and called: whoever writes it decides what runs. One that was published
may name the parts of this library only, unless whoever loads it trusts its author. It may name no files either: those
are for whoever loads it to name. Nothing here imports what it does not trust.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from fsar.encoders.weights.architecture import FOLDER
from fsar.terminal.files.bounds import check_bounds

FILE = "file:"  # stands before the name of a file that a published configuration needs and does not bring
TRUSTED = (
    *("episodes.frames", "episodes.transforms", "fsar.adapters", "fsar.alignment", "fsar.encoders", "fsar.methods"),
    *("fsar.fusion", "fsar.objectives", "fsar.temporal", "fsar.text", "torch.nn"),
)
LEVELS = 4
"""Of YAML in strings, each in the former, that are looked into."""
KEYS = ("seed_everything", "model", "data", "trainer", "run", "ckpt_path", "weights_only", "verbose")
"""Sections and options of a run's configuration."""
NOT_NEEDED = ("benchmark", "features", "cache", "support", "query", "workers", "train_sampler", "train_transform")


def needed(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a run's configuration that building the method and reading clips needs.

    The seed stays: weights that are random on purpose come out of it. Trainer, optimiser, benchmark and data roots go.
    """
    seed = config.get("seed_everything")
    return {
        "seed_everything": seed if isinstance(seed, int) else 0,
        "model": {"method": config["model"]["method"]},
        "data": {key: value for key, value in config["data"].items() if key not in NOT_NEEDED},
    }


def check_keys(config: dict[str, Any], origin: str) -> None:
    """Refuse what no run has: read as if it were not there, it would promise what is not done.

    Raises:
        ValueError: names the keys that are not known.
    """
    if unknown := sorted(set(map(str, config)) - set(KEYS)):
        close = difflib.get_close_matches(unknown[0], KEYS, 1)
        hint = f"did you mean {close[0]} ?" if close else f"known are {', '.join(KEYS)}."
        raise ValueError(
            f"{origin} has the key{'s' * (len(unknown) > 1)} {', '.join(unknown)}, which no run has; {hint}"
        )


def check_classes(config: Any, origin: str) -> None:
    """Refuse a configuration that names anything but parts of this library and of ``torch.nn``.

    Every string is looked at, whatever its key: a class can be named without ``class_path``, and in YAML within a
    string.

    Args:
        config: plain data.
        origin: where it comes from, for the message.

    Raises:
        ValueError: names the first class that is not trusted, and its key.
    """
    if strangers := foreign_classes(config):
        key, name = next(iter(strangers.items()))
        raise ValueError(
            f"{origin} names {name} as {key}, which is no part of this version of fsar: building it would run its "
            "author's code. If you know and trust that code, put it where Python finds it and load with "
            "trust_classes=True (--trust-classes)."
        )


def foreign_classes(config: Any, levels: int = 0) -> dict[str, str]:
    """``{key: name}`` of all that a configuration names and that is not one of the parts in :data:`TRUSTED`.

    Raises:
        ValueError: for YAML in strings in strings, more than :data:`LEVELS` of them, or larger than any is.
    """
    if levels > LEVELS:
        raise ValueError(f"the configuration holds YAML in strings, {LEVELS} levels of it and more: none needs that.")
    found: dict[str, str] = {}
    for key, text in strings(config):
        name = text.strip()
        check_bounds(name, f"the text of {key}")
        inner = parsed(name)
        if isinstance(inner, dict | list):
            found |= {f"{key}.{within}": foreign for within, foreign in foreign_classes(inner, levels + 1).items()}
            continue
        dotted = re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", name) is not None and not is_trusted(name)
        if dotted and (key.endswith("class_path") or may_import(name)):
            found[key] = name  # else a plain string with a dot in it, such as model.json
    return found


def may_import(name: str) -> bool:
    """Whether a dotted name may be that of something in a module that is here. A folder without Python in it, such as
    ``weights`` beside ``weights.pt``, is a package to Python all the same, but one without attributes."""
    top = name.split(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # of a module that is imported and does not say where from
        return True
    return spec is not None and (spec.origin is not None or name.count(".") > 1)


def is_trusted(name: str) -> bool:
    """Whether a dotted name is that of a class of the :data:`TRUSTED` modules.

    It is not enough that the name begins like one of ours: ``fsar.encoders.weights.pickle.Unpickler`` does as well.
    """
    if not name.startswith(tuple(f"{module}." for module in TRUSTED)):
        return False
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and f"{found.__module__}.".startswith(tuple(f"{module}." for module in TRUSTED))


def name_files(config: dict[str, Any], origin: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The portable configuration, after a look whether the options in ``overrides`` name every file that it needs.

    Raises:
        FileNotFoundError: says which file is needed, and by which option it is given.
    """
    words = [word.split("=")[0] for word in overrides]
    given = tuple(f"{option_of(word[2:])}." for word in words if word.startswith("--"))
    for option, name in files_of(config).items():
        if not f"{option}.".startswith(given) and not {"-c", "--config"} & set(words):
            raise FileNotFoundError(
                f"{origin} needs the file {name}, which is not published with it: name yours by "
                f'--{option} FILE (in Python overrides=["--{option}", "FILE"]).'
            )
    return portable(config)


def portable(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with every file that it names turned into ``file:<name>``."""
    return map_strings(config, lambda text: FILE + file_name(text) if names_file(text) else text)


def files_of(config: dict[str, Any]) -> dict[str, str]:
    """``{option: name}`` of the files that a configuration names; the option as users write it."""
    return {option_of(key): file_name(text) for key, text in strings(config) if names_file(text)}


def option_of(key: str) -> str:
    """``model.method.init_args.encoder.init_args.model`` as users write it: ``model.encoder.model``."""
    return re.sub(r"^model\.method\b", "model", key.replace(".init_args", ""))


def names_file(text: str) -> bool:
    """Whether a string of a configuration names a file: by mark, by an absolute path, or because there is one."""
    return text.startswith((FILE, FOLDER)) or is_absolute(text) or os.path.isfile(text)


def is_absolute(text: str) -> bool:
    """Whether a string is an absolute path on any system."""
    return text.startswith("~") or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def file_name(text: str) -> str:
    """The last part of a path of any system, or of ``file:<name>``."""
    return PureWindowsPath(text.removeprefix(FILE).removeprefix(FOLDER)).name


def parsed(text: str) -> Any:
    """What a string is to a parser that takes YAML in strings."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # such as a date in month 13
        return text


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """``(dotted key, string)`` of every string that is a value in plain data."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from strings(item, f"{key}.{name}" if key else str(name))


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of plain data with ``change(string)`` in the place of every string that is a value."""
    if isinstance(value, dict):
        return {name: map_strings(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [map_strings(item, change) for item in value]
    return change(value) if isinstance(value, str) else value
