"""Names in tables that a spreadsheet or a terminal may show: one runs a cell that begins like a formula, the other
obeys control characters. Bytes of a file's name that are no letters could not be written at all."""

from __future__ import annotations

import re

from fsar.terminal.shown import CONTROL

FORMULA = ("=", "+", "-", "@", "\t", "\r")
GUARD = "'"
"""Stands before a name that begins like a formula, and before one that begins with itself and such a sign."""
CODE = "x[0-9a-f]{2}|u[0-9a-f]{4}"
WRITTEN = re.compile(rf"(\\+)({CODE})")
TO_WRITE = re.compile(rf"(\\*)({CONTROL})|(\\+)(?={CODE})")


def to_cell(name: str) -> str:
    r"""A name as it is written: :func:`from_cell` gives it back.

    >>> to_cell("=1"), to_cell("\x1b[31m"), to_cell(r"\x1b")
    ("'=1", '\\x1b[31m', '\\\\x1b')
    """
    plain = TO_WRITE.sub(_write, name)
    return GUARD + plain if plain.lstrip(GUARD).startswith(FORMULA) else plain


def from_cell(cell: str) -> str:
    """The name of a cell; of a table that was written without guards as well, unless a name begins with one."""
    plain = cell[1:] if cell.startswith(GUARD) and cell.lstrip(GUARD).startswith(FORMULA) else cell
    return WRITTEN.sub(_read, plain)


def _write(found: re.Match[str]) -> str:
    slashes, char, before_code = found.groups()
    if char is None:
        return before_code * 2
    return slashes * 2 + (f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}")


def _read(found: re.Match[str]) -> str:
    slashes, code = found.groups()
    return "\\" * (len(slashes) // 2) + (chr(int(code[1:], 16)) if len(slashes) % 2 else code)
