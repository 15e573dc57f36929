"""Names and files as a terminal may print them."""

from __future__ import annotations

import re
import warnings
from functools import wraps
from typing import Any

KEPT = "\n\t"
NO_LETTER = re.compile(r"Glyph \d+ .*missing from")
"""How matplotlib begins a warning, one for each letter and figure."""
SQUARES = "letters that no installed font has are drawn as squares: install one that has them, such as Noto Sans CJK.\n"


def shown(text: str) -> str:
    r"""The text with every control character written out, such as ``\x1b`` for escape: a terminal would obey it.

    Line ends and tabs stay; so do letters of every script. Marks that turn the direction of writing are written out,
    for they show another name than the one that is there.
    """
    return "".join(
        char if char in KEPT or not obeyed(char) else char.encode("unicode_escape").decode() for char in text
    )


def obeyed(char: str) -> bool:
    """Whether a terminal does something else with a character than showing it."""
    code = ord(char)
    return code < 32 or 127 <= code < 160 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069


def show_warnings() -> None:
    """From here on a warning that is printed is :func:`shown`, too: it may hold the name of a file. Letters that cannot
    be drawn are told once."""
    usual = warnings.formatwarning
    if hasattr(usual, "__wrapped__"):
        return

    squares = [SQUARES]

    @wraps(usual)
    def format_shown(*args: Any, **kwargs: Any) -> str:
        if args and NO_LETTER.match(str(args[0])):
            return squares.pop() if squares else ""
        return shown(usual(*args, **kwargs))

    warnings.formatwarning = format_shown
