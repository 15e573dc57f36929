"""Names of classes and clips: the same whether letters are composed or not, and also where YAML read a number."""

from __future__ import annotations

import difflib
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

Name = str | int | float | bool | None
"""A name as a configuration file gives it: ``007``, ``yes`` and ``null`` are no texts to YAML."""


def normal(name: str) -> str:
    """Composed Unicode (NFC), in which names are compared and ordered; macOS writes them decomposed.

    >>> len("e\u0301"), len(normal("e\u0301"))
    (2, 1)
    """
    return unicodedata.normalize("NFC", name)


def resolve(wanted: Iterable[Name], there: Collection[str], what: str, where: Path) -> list[str]:
    """The names on disk that ``wanted`` names mean, in its order.

    A text means the name of the same letters, composed or not. A number or a truth value means the one name that YAML
    would read so.

    Args:
        wanted: from a configuration.
        there: the names on disk.
        what: they name.
        where: they are.

    Raises:
        FileNotFoundError: for a name that is not there, with the closest one.
        ValueError: for one that two names on disk could be.

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
    for given in wanted:
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


def _readings(name: str) -> list[Name]:
    """What YAML may read where a name is not quoted, besides the name itself."""
    values: list[Name] = []
    with suppress(yaml.YAMLError, ValueError):  # a name that is no YAML at all
        value = yaml.safe_load(name)
        if value is None or isinstance(value, int | float):
            values.append(value)
    if not values and "e" in name.lower():
        with suppress(ValueError):  # 1e3 is a number to YAML 1.2, which some readers follow
            values.append(float(name))
    return values


def _key(value: Name) -> str:
    return f"{type(value).__name__} {value!r}"


def _as_yaml(value: Name) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
