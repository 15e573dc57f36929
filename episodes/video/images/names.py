"""The order of a folder's images, from their names alone.

A name is text with numbers in it. Names with the same text between their numbers are one sequence, and the numbers
order it, the first one first: ``IMG_20230501_120001_003`` comes after ``IMG_20230501_120000_602``.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from episodes.video.info import VideoError

# A minus is a sign only where no letter or digit stands before it. One point makes a decimal number; two, as in a date
# or a version, separate whole numbers.
_NUMBER = re.compile(r"((?<![^\W_])-)?(\d+(?:[.,]\d+)*)")
_CLOCK = re.compile(r"(?<!\d)(0?[1-9]|1[0-2])((?:[.:_-]\d{2}){1,2})\s*([ap])\.?m\b\.?")
"""``1.05.09 pm``, as screenshots are named: after casefold, and before numbers are looked for."""
_YEAR_LAST = re.compile(
    r"(?<!\d)(?:(\d{1,2})([-._ ])(\d{1,2})\2|(0[1-9]|[12]\d|3[01])(0[1-9]|[12]\d|3[01]))(?:19|20)\d{2}(?!\d)"
)
"""``31-1-2023``, or all of its digits together, ``31012023``."""
_SHARE = 2 / 3
LISTED = 3
LEFT_OUT = "images left out"
UNNUMBERED = "images has a number in its name"


class Number(NamedTuple):
    """One number of a name, as it is written: ``-1.25`` is ("-", "1", "25")."""

    sign: str
    whole: str
    fraction: str


def order_images(folder: Path, files: Sequence[Path]) -> tuple[list[Path], str]:
    """The images of one sequence, in its order, and what is to be said of those that are left out.

    When no name has a number, names order them, and that is said.

    Args:
        folder: holds them; for messages.
        files: at least one.

    Raises:
        VideoError: when it is not clear which images are the sequence, or when two have the same numbers.
    """
    found: defaultdict[tuple[str, ...], list[tuple[Path, list[Number]]]] = defaultdict(list)
    for file in sorted(files):
        text, numbers = split_name(file.stem)
        found[text].append((file, numbers))
    sequences = [text for text in found if len(text) > 1]
    if not sequences:
        plain = sorted(files)
        taken = f"they are taken in the order of their names, from {plain[0].name} to {plain[-1].name}"
        return plain, f"none of its {len(plain)} {UNNUMBERED}: {taken}" if len(plain) > 1 else ""
    pattern = max(sequences, key=lambda text: len(found[text]))
    inside = found[pattern]
    if len(inside) < _SHARE * len(files):
        kinds = sorted(found, key=lambda text: -len(found[text]))
        listed = ", ".join(f"{found[text][0][0].name} ({len(found[text])} so named)" for text in kinds[:LISTED])
        raise VideoError(folder, f"its images are named in several ways, {listed}: keep one sequence in a folder")
    days = [_YEAR_LAST.search(file.stem) for file, _ in inside]
    if all(days) and len({day.groups() for day in days if day}) > 1:
        listed = " and ".join(sorted({day[0] for day in days if day})[:2])
        raise VideoError(
            folder, f"its images are of several days, {listed}, with the year last: name them by year, month, day"
        )
    keys = sort_keys([numbers for _, numbers in inside])
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        same = [file.name for (file, _), key in zip(inside, keys, strict=True) if key == twice]
        raise VideoError(
            folder, f"two of its images have the same number, {same[0]} and {same[1]}: keep one sequence in a folder"
        )
    ordered = [file for _, file in sorted(zip(keys, (file for file, _ in inside), strict=True))]
    rest = sorted({file.name for file in files} - {file.name for file in ordered})
    if not rest:
        return ordered, ""
    more = f" and {len(rest) - LISTED} more" if len(rest) > LISTED else ""
    return ordered, (
        f"{len(rest)} of its {len(files)} {LEFT_OUT}, not named as {ordered[0].name} is: "
        f"{', '.join(rest[:LISTED])}{more}"
    )


def split_name(stem: str) -> tuple[tuple[str, ...], list[Number]]:
    """A name without its ending as the text around its numbers, and the numbers."""
    name = _CLOCK.sub(_of_24_hours, unicodedata.normalize("NFC", stem).casefold())
    numbers: list[Number] = []
    text, end = [], 0
    for match in _NUMBER.finditer(name):
        text.append(name[end : match.start()])
        sign, (first, *rest) = match[1] or "", re.split("[.,]", match[2])
        numbers.append(Number(sign, first, rest[0] if len(rest) == 1 else ""))
        for part in rest if len(rest) > 1 else []:
            text.append(".")
            numbers.append(Number("", part, ""))
        end = match.end()
    return (*text, name[end:]), numbers


def _of_24_hours(time: re.Match[str]) -> str:
    return f"{int(time[1]) % 12 + 12 * (time[3] == 'p'):02d}{time[2]}"


def sort_keys(names: Sequence[Sequence[Number]]) -> list[tuple[Any, ...]]:
    """One key for each name; every column of numbers is read in one way."""
    columns = list(zip(*names, strict=True))
    values = [map(_reading(column), column) for column in columns]
    return list(zip(*values, strict=True))


def _reading(column: Sequence[Number]) -> Callable[[Number], Any]:
    """How the numbers of a column compare: whole, decimal, or two counters with a point between (``1.9 1.10``).

    Counters are told by a fraction that ends in 0, where others are shorter and none begins with 0: no decimal number
    is written so. A minus before every number is a separator.
    """
    signed = not all(number.sign for number in column)
    long = [number.fraction for number in column if len(number.fraction) > 1]
    whole = all(number.fraction for number in column)
    differ = len({len(number.fraction) for number in column}) > 1
    ends, begins = any(f[-1] == "0" for f in long), any(f[0] == "0" for f in long)
    counters = whole and differ and ends and not begins

    def value(number: Number) -> Any:
        factor = -1 if signed and number.sign else 1
        if counters:
            return factor * int(number.whole), int(number.fraction)
        return factor * Fraction(f"{int(number.whole)}.{number.fraction or 0}")

    return value
