"""Values that no part takes, and jsonargparse hands on whatever the argument's type: null, NaN, infinity."""

from __future__ import annotations

import inspect
import math
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from jsonargparse import Namespace

FOREIGN = ("lightning.", "torchmetrics.")
"""Whose types are not always what they take."""
UNIONS = (Union, UnionType)


def find_nulls(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The key and the types of each argument of a class that is null and must not be.

    Args:
        value: what a parser found, or a part of it.
        key: of the part.
    """
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from find_nulls(part, f"{key}[{number}]")
    if not isinstance(value, Mapping):
        return
    path, given = value.get("class_path"), value.get("init_args")
    given = vars(given) if isinstance(given, Namespace) else given
    if isinstance(path, str) and isinstance(given, Mapping) and not path.startswith(FOREIGN):
        for name, kind in _types(path).items():
            if name in given and given[name] is None and not takes_null(kind):
                kinds = get_args(kind) if get_origin(kind) in UNIONS else (kind,)
                yield f"{key}.{name}", ", ".join(map(str, kinds))
    for name, part in value.items():
        inside = key if name == "init_args" else f"{key}.{name}" if key else str(name)
        yield from find_nulls(part, inside)


def find_null_options(actions: Iterable[Any], config: Namespace) -> Iterator[tuple[str, str]]:
    """Likewise of the options that a parser has itself: a file may say null of them unseen.

    Args:
        actions: of the parser.
        config: what it found.
    """
    for action in actions:
        kind, usual = getattr(action, "_typehint", None), action.default
        if kind is None or usual is None or action.dest.startswith("trainer.") or takes_null(kind):
            continue
        if config.get(action.dest, usual) is None:
            yield action.dest, str(kind)


def find_not_finite(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """The key and value of each number that is NaN or infinite; what belongs to the trainer is left to it."""
    if isinstance(value, float) and not math.isfinite(value):
        yield key, value
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from find_not_finite(part, f"{key}[{number}]")
    elif isinstance(value, Mapping | Namespace):
        for name, part in (vars(value) if isinstance(value, Namespace) else value).items():
            inside = key if name == "init_args" else f"{key}.{name}" if key else str(name)
            if inside != "trainer":
                yield from find_not_finite(part, inside)


def takes_null(kind: Any) -> bool:
    """Whether null is a value of a type."""
    if kind in (Any, None, NoneType, object) or isinstance(kind, str):
        return True
    return get_origin(kind) in UNIONS and any(map(takes_null, get_args(kind)))


def _types(path: str) -> dict[str, Any]:
    """Types of the arguments of a class that have a default which is not null; others are told to be needed."""
    try:
        made = pkgutil.resolve_name(path)
        made = made.__init__ if inspect.isclass(made) else made
        hints, arguments = get_type_hints(made), inspect.signature(made).parameters
    except (ImportError, AttributeError, NameError, TypeError, ValueError):
        return {}  # what cannot be looked at is left to itself
    without = (None, inspect.Parameter.empty)
    return {
        name: hints[name]
        for name, one in arguments.items()
        if name in hints and all(one.default is not value for value in without)
    }
