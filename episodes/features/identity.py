"""Is a video still the one that it was?"""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from episodes.video import images, packed

PIECE = 64 * 1024
"""Bytes of head, middle and tail that are hashed."""


class Identity(NamedTuple):
    """What tells one video from another.

    Attributes:
        size: bytes of a file, number of entries of a folder of frames, frames of a packed clip or in a zip file.
        time: of its last change, in nanoseconds, which is also when a file was put there with the modification time of
            another; of a folder the last of its own and its first, middle and last
            entries'; of a packed clip, whose files change with every clip that is added, a checksum of its frames.
        hash: of head, middle and tail of a file; of those of a folder's first, middle and last entries, and the names
            of all; of a packed clip's frames.
    """

    size: int
    time: int
    hash: str


def identify(path: Path) -> Identity | None:
    """The identity of a video; None when it is not there."""
    facts = _facts(path)
    return None if facts is None else Identity(*facts, _hash(path))


def difference(path: Path, before: Identity) -> str | None:
    """What has changed since, or None. The contents decide, the time is only the fast way to know that they are the
    same: a video that was copied or touched stays what it was. One that is not there has not changed."""
    facts = _facts(path)
    if facts is None or facts == (before.size, before.time):
        return None
    if facts[0] != before.size:
        unit = "files" if path.is_dir() else "bytes" if path.is_file() else "frames"
        return f"{before.size} {unit} then, {facts[0]} now"
    if before.hash and _hash(path) != before.hash:
        return f"as large as before ({before.size}), but with other contents"
    return None


def _facts(path: Path) -> tuple[int, int] | None:
    """Size and time."""
    if path.is_dir():
        names = sorted(os.listdir(path))
        return len(names), max(_changed(entry.stat()) for entry in (path, *_three(path, names)) if entry.exists())
    if path.is_file():
        state = path.stat()
        return state.st_size, _changed(state)
    if images.archive.is_inside(path):
        count, sums = images.archive.checksum(path)
        return count, zlib.crc32(sums)
    place = packed.place_of(path)
    return None if place is None else (place.shape[0], zlib.crc32(place.sums))


def _changed(state: os.stat_result) -> int:
    """The later of both times: ``cp -p`` and ``touch -r`` set the first and cannot set the second."""
    return max(state.st_mtime_ns, state.st_ctime_ns)


def _hash(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    if path.is_dir():
        names = sorted(os.listdir(path))
        digest.update("\0".join(names).encode(errors="surrogateescape"))
        for entry in _three(path, names):
            if entry.is_file():
                _update(digest, entry)
    elif path.is_file():
        _update(digest, path)
    elif images.archive.is_inside(path):
        digest.update(images.archive.checksum(path)[1])
    elif place := packed.place_of(path):
        digest.update(place.sums)
    return digest.hexdigest()


def _update(digest: hashlib.blake2b, file: Path) -> None:
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        for start in sorted({0, max(0, size // 2 - PIECE // 2), max(0, size - PIECE)}):
            opened.seek(start)
            digest.update(opened.read(PIECE))


def _three(folder: Path, names: list[str]) -> list[Path]:
    """First, middle and last of the entries; no more than there are."""
    return [folder / names[i] for i in sorted({0, len(names) // 2, len(names) - 1}) if 0 <= i < len(names)]
