"""Names in tables that a spreadsheet may open: it runs a cell that begins like a formula."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
GUARD = "'"
"""Stands before a name that begins like a formula, and before one that begins with itself and such a sign."""


def to_cell(name: str) -> str:
    """A name as it is written: :func:`from_cell` gives it back."""
    return GUARD + name if name.lstrip(GUARD).startswith(FORMULA) else name


def from_cell(cell: str) -> str:
    """The name of a cell; of a table that was written without guards as well, unless a name begins with one."""
    return cell[1:] if cell.startswith(GUARD) and cell.lstrip(GUARD).startswith(FORMULA) else cell
