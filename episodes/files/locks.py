"""One process at a time: the lock of a folder that is being filled."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from episodes.files.atomic import write_atomically

LOCK, HOLDER = ".lock", ".lock-holder"
POLL = 0.2
"""Seconds between two looks at a lock that another process holds."""
WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP}


@contextmanager
def held_alone(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold a folder's lock, so that no other process that asks for it fills the folder meanwhile.

    The lock is the operating system's own (``flock``), not the existence of a file: it ends with its process, however
    that ends, so that none can be left behind, and Linux carries it over NFS, so that it holds between machines too.
    What says by a file alone that somebody writes (``SoftFileLock``) would outlive a process killed on another machine.
    Where a file system knows no ``flock``, ``filelock`` takes such a file after all, with a warning.

    Args:
        folder: is made if need be; the files ``.lock`` and, while somebody writes, ``.lock-holder`` lie in it.
        wait: for the process that holds it, said in one line on standard error; else refuse.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is false.
        OSError: the file system keeps no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK), folder / HOLDER
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise BlockingIOError(f"{_who(holder)} is writing {folder}: wait until it has ended.") from None
            print(f"{folder} is being written by {_who(holder)}: waiting until it has ended", file=sys.stderr)
            lock.acquire(poll_interval=POLL)
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        reason = "this file system keeps no locks, which keep two writers apart: mount it with them, or write elsewhere"
        raise OSError(error.errno, reason, str(folder)) from error
    try:
        with write_atomically(holder) as part:
            part.write_text(f"process {os.getpid()} on {socket.gethostname()} (since {time.strftime('%F %T')})")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    for _ in range(5):
        with suppress(FileNotFoundError):
            return holder.read_text(encoding="utf-8")
        time.sleep(POLL)  # it has taken the lock this moment
    return "another process"
