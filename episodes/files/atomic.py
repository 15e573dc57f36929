"""Files that are whole or not there: how everything is written that another process, or a later one, will read."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from secrets import token_hex

NAME = re.compile(r"-\d+-[0-9a-f]{8}\.part$")
STALE = 24 * 3600
"""Seconds after which an unfinished file that nobody wrote to is what a killed process left behind."""


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Put a file in its place in one step: a reader finds the former one or the new one, never a part.

    >>> with write_atomically("results.json") as part:
    ...     _ = part.write_text("{}")

    ``part`` is a new empty file in the same folder, so that the step is a rename whatever file systems there are. Its
    name is this process's alone and ends in ``.part``: what goes by a file's suffix (``np.save``, ``Image.save``) is
    given ``part.open("wb")`` or a format. When the block ends the contents are brought to disk and take the place of
    ``path``; a link is followed. When it raises, ``path`` stays as it was, and nothing else is left.

    Args:
        path: of the file; its folder must exist.

    Raises:
        OSError: it cannot be written, as on a full disk; named is ``path``.
    """
    goal = Path(os.path.realpath(path))
    part = goal.with_name(f".{goal.name[:40]}.{socket.gethostname()}-{os.getpid()}-{token_hex(4)}.part")
    try:
        part.touch(exist_ok=False)
        _remove_stale(goal.parent)
        yield part
        _sync(part)
        part.replace(goal)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part)):
            raise
        kept = f"; {goal.name} stays as it was before" if goal.exists() else ""
        raise OSError(error.errno, f"{error.strerror}{kept}", str(path)) from error
    finally:
        part.unlink(missing_ok=True)
    with suppress(OSError):  # the file is whole; not every file system knows how to bring a folder to disk
        _sync(goal.parent)


def explain_start(path: str | Path, option: str) -> str:
    """The end of a message on a file or folder that is not there: where a relative path starts, and the way out.

    Runs are moved, and so are the folders that they are started in; a configuration keeps the path as it was given.
    """
    start = "" if Path(path).is_absolute() else f" A relative path starts from the folder you are in, {Path.cwd()}."
    return f"If it lies elsewhere now, give --{option} PATH.{start}"


def is_part(path: Path) -> bool:
    """Whether a file is one that somebody is writing, see :func:`write_atomically`, or was when he was killed."""
    return path.name.startswith(".") and NAME.search(path.name) is not None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@lru_cache(4096)  # once in a process: a folder may hold a hundred thousand clips
def _remove_stale(folder: Path) -> None:
    for part in folder.glob(".*.part"):
        with suppress(FileNotFoundError):  # another process removed it first
            if is_part(part) and time.time() - part.stat().st_mtime > STALE:
                part.unlink()
