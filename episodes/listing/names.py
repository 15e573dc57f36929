"""Names of classes and clips: the same whether letters are composed or not, and also where YAML read a number."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import yaml

Name = str | int | float | bool | None
"""A name as a configuration file gives it: ``007``, ``yes`` and ``null`` are no texts to YAML."""


def normal(name: str) -> str:
    """Composed Unicode (NFC), in which names are compared and ordered; macOS writes them decomposed.

    >>> len("e\u0301"), len(normal("e\u0301"))
    (2, 1)
    """
    return unicodedata.normalize("NFC", name)


def as_names(given: object, option: str) -> list[Name]:
    """What is given as a list of names. A text is none, although it can be walked through letter by letter, nor is a
    set: its order, which decides the episodes, is another one in each process.

    Raises:
        ValueError: for what is no list.

    >>> as_names(("run", "jump"), "train")
    ['run', 'jump']
    """
    if isinstance(given, str | bytes | os.PathLike) or not isinstance(given, Iterable):
        raise ValueError(f"{option} must be a list of names, found {given!r}; one name alone is [{given!r}].")
    if isinstance(given, set | frozenset):
        raise ValueError(f"{option} must be a list of names, whose order decides the episodes; found a set.")
    return list(given)


def resolve(wanted: Iterable[Name], there: Collection[str], what: str, where: Path) -> list[str]:
    """The names on disk that ``wanted`` names mean, in its order.

    A text means the name of the same letters, composed or not. A number, a truth value or a day means the one name that
    YAML would read so.

    Args:
        wanted: from a configuration, or from Python, where paths and numpy's scalars are names as well.
        there: the names on disk.
        what: they name.
        where: they are.

    Raises:
        FileNotFoundError: for a name that is not there, with the closest one.
        ValueError: for one that two names on disk could be, or that is no name.

    >>> resolve(["wave"], ["wave", "jump"], "class", Path("clips"))
    ['wave']
    """
    letters, readings = defaultdict(list), defaultdict(list)
    for name in there:
        letters[normal(name)].append(name)
        for value in _readings(name):
            readings[_key(value)].append(name)
    found: list[str] = []
    missing: list[str] = []
    for given in (_as_name(value, what, where) for value in wanted):
        same = letters[normal(given)] if isinstance(given, str) else readings[_key(given)]
        if given in same and isinstance(given, str):
            same = [given]
        if len(same) > 1:
            listed = " and ".join(map(repr, sorted(same)))
            why = (
                "quote it"
                if not isinstance(given, str)
                else "they differ in how their letters are composed: rename one"
            )
            raise ValueError(f"{where}: the {what} {given!r} may be {listed}; {why}.")
        found += same
        missing += [] if same else [given if isinstance(given, str) else _as_yaml(given)]
    if missing:
        require(missing, there, what, where, len(found) + len(missing))
    return found


def resolve_names(given: Mapping[Name, Name], folders: Sequence[str], where: str, root: Path) -> dict[str, str]:
    """``{folder on disk: class name}`` of what a configuration says.

    Raises:
        FileNotFoundError: for a folder that is not there.
        ValueError: for a name that YAML reads as something else than text.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: expected {{folder: text}}, found {given!r}.")
    for folder, name in given.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"{where}: the name of {folder!r} must be a text, found {name!r}; quote it, as '1' or 'yes'."
            )
    found = resolve(given, folders, f"class folder (named in {where})", root)
    return dict(zip(found, (normal(str(name)) for name in given.values()), strict=True))


def require(wanted: Collection[str], there: Collection[str], what: str, where: Path, of: int | None = None) -> None:
    """Raises FileNotFoundError for the ``wanted`` names that are not ``there``, naming the closest match of one."""
    missing = sorted(set(wanted) - set(there))
    if missing:
        names = {name.casefold(): name for name in there}
        close = difflib.get_close_matches(missing[0].casefold(), names, 1)
        hint = f"did you mean '{names[close[0]]}'?" if close else f"it has {', '.join(sorted(there)[:5])}."
        count = len(set(wanted)) if of is None else of
        more = f" ({len(missing)} of the {count} names are missing)" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{where} has no {what} '{missing[0]}'{more}; {hint}")


def _as_name(given: object, what: str, where: Path) -> Name:
    """A path as its text, a scalar of numpy as that of Python.

    Raises:
        ValueError: for what is no name.
    """
    if isinstance(given, np.generic):
        given = given.item()
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if given is None or isinstance(given, str | int | float | date):
        return given  # type: ignore[return-value]  # a day is none of configurations, where it is text
    raise ValueError(f"{where}: the name of a {what} must be a text, found {given!r}.")


def _readings(name: str) -> list[object]:
    """What YAML may read where a name is not quoted, besides the name itself."""
    values: list[object] = []
    with suppress(yaml.YAMLError, ValueError):  # a name that is no YAML at all
        value = yaml.safe_load(name)
        if value is None or isinstance(value, int | float | date):
            values.append(value)
    if not values and "e" in name.lower():
        with suppress(ValueError):  # 1e3 is a number to YAML 1.2, which some readers follow
            values.append(float(name))
    return values


def _key(value: object) -> str:
    return f"{type(value).__name__} {value!r}"


def _as_yaml(value: Name) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
