"""Names and files as a terminal may print them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

CONTROL = "[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
"""What a terminal does not show but obeys, and what cannot be written: bytes of a file's name that are no letters."""
OBEYED = re.compile(rf"(?![\n\t]){CONTROL}")
ROOT = Path(__file__).resolve().parents[2]
OURS = (ROOT / "fsar", ROOT / "episodes", ROOT / "tools")
NO_LETTER = re.compile(r"Glyph \d+ .*missing from")
"""How matplotlib begins a warning, one for each letter and figure."""
SQUARES = "letters that no installed font has are drawn as squares: install one that has them, such as Noto Sans CJK.\n"


def shown(text: str) -> str:
    r"""The text with every control character written out, such as ``\x1b`` for escape: a terminal would obey it. So are
    bytes of a file's name that are no letters (``\udcff``), which no file and no picture can hold.

    Line ends and tabs stay; so do letters of every script. Marks that turn the direction of writing are written out,
    for they show another name than the one that is there.
    """
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def show_messages() -> None:
    """From here on a warning that is printed, and what is logged, is :func:`shown`, too: it may hold the name of a
    file. Letters that cannot be drawn are told once."""
    if not hasattr(warnings.formatwarning, "__wrapped__"):
        warnings.formatwarning = _shown_warnings(warnings.formatwarning)
    if not hasattr(logging.getLogRecordFactory(), "__wrapped__"):
        logging.setLogRecordFactory(_shown_records(logging.getLogRecordFactory()))


def _shown_warnings(usual: Callable[..., str]) -> Callable[..., str]:
    squares = [SQUARES]

    @wraps(usual)
    def format_shown(*args: Any, **kwargs: Any) -> str:
        if args and NO_LETTER.match(str(args[0])):
            return squares.pop() if squares else ""
        if len(args) > 2 and any(
            map(Path(args[2]).resolve().is_relative_to, OURS)
        ):  # whose place in the code helps nobody
            return shown(f"warning: {args[0]}\n")
        return shown(usual(*args, **kwargs))

    return format_shown


def _shown_records(usual: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    @wraps(usual)
    def make_shown(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        with suppress(TypeError, ValueError):  # arguments that do not fit the message are told when it is printed
            if OBEYED.search(message := record.getMessage()):
                record.msg, record.args = shown(message), ()
        return record

    return make_shown
