"""Where a command is to write: looked at when its command line is read, and not when the work is done."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path


class NotWritableError(argparse.ArgumentTypeError, OSError):
    """Nothing can be written there; argparse puts the option's name before it."""


def output_file(text: str) -> Path:
    """The file that an option names, as ``type`` of argparse; nothing is written yet.

    Raises:
        NotWritableError: when it cannot be written, with the cause.
    """
    path = Path(text)
    if not text.strip():
        raise NotWritableError("is empty: name a file")
    if path.is_dir():
        raise NotWritableError(f"{text} is a folder: name a file in it")
    if not path.parent.exists():
        raise NotWritableError(f"{text} cannot be written: there is no folder {path.parent}")
    if path.exists() and not os.access(path, os.W_OK):
        raise NotWritableError(f"{text} cannot be written: permission denied")
    _try_folder(text, path.parent)
    return path


def output_folder(text: str) -> Path:
    """The folder that an option names, which may be new; it is not made yet.

    Raises:
        NotWritableError: when it cannot be made or written into, with the cause.
    """
    path = Path(text)
    if not text.strip():
        raise NotWritableError("is empty: name a folder")
    if path.exists() and not path.is_dir():
        raise NotWritableError(f"{text} is a file: name a folder")
    _try_folder(text, next(each for each in (path, *path.absolute().parents) if each.exists()))
    return path


def _try_folder(text: str, folder: Path) -> None:
    """Make a file without a name there: a disk may forbid what rights allow."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        cause = f"{folder} is a file" if folder.is_file() else f"{error.strerror} ({folder})"
        raise NotWritableError(f"{text} cannot be written: {cause}") from None
