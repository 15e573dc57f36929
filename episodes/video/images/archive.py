"""A folder of images inside one zip file, as TRX's authors keep a whole data set: ``videos.zip/class/clip``.

Stored without compression (``zip -0``) an image costs one seek; a compressed archive is read as well, more slowly. The
list of an archive is read once in each process.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from episodes.video.info import VideoError

SUFFIX = ".zip"


class Place(NamedTuple):
    """Where a path leads into an archive.

    Attributes:
        archive: the file, open.
        folders: names of the files in each folder that holds some.
        inside: the folder meant, or a file.
    """

    archive: ZipFile
    folders: dict[str, list[str]]
    inside: str


def place_of(path: Path) -> Place | None:
    """The place inside an archive that a path names; None when none of its parts is one."""
    parts = path.as_posix().split(f"{SUFFIX}/", 1)
    if len(parts) < 2 or not Path(f"{parts[0]}{SUFFIX}").is_file():
        return None
    archive, folders = _open(Path(f"{parts[0]}{SUFFIX}"))
    return Place(archive, folders, parts[1])


def is_inside(path: Path) -> bool:
    """Whether a path names a folder of an archive that holds files."""
    place = place_of(path)
    return place is not None and place.inside in place.folders


def names(folder: Path) -> list[str]:
    """Names of the files of a folder inside an archive."""
    place = place_of(folder)
    return [] if place is None else place.folders.get(place.inside, [])


def clips(archive: Path) -> Iterator[str]:
    """The folders of an archive that hold files, relative to it."""
    yield from sorted(_open(archive)[1])


def opened(file: Path) -> io.BytesIO | Path:
    """What Pillow opens: the file's bytes where it lies in an archive, else the file."""
    place = place_of(file)
    if place is None:
        return file
    try:
        return io.BytesIO(place.archive.read(place.inside))
    except (BadZipFile, KeyError, zlib.error) as error:
        raise OSError(f"damaged in the archive: {error}") from error


def checksum(folder: Path) -> tuple[int, bytes]:
    """How many files a folder inside an archive holds, and their names and checksums, which the archive keeps."""
    place = place_of(folder)
    assert place is not None
    files = sorted(place.folders.get(place.inside, []))
    facts = [f"{name}\0{place.archive.getinfo(f'{place.inside}/{name}').CRC}" for name in files]
    return len(files), "\0".join(facts).encode(errors="surrogateescape")


def _open(file: Path) -> tuple[ZipFile, dict[str, list[str]]]:
    state = file.stat()
    return _read(str(file), state.st_mtime_ns, state.st_size, os.getpid())


@lru_cache(maxsize=4)
def _read(file: str, time: int, size: int, process: int) -> tuple[ZipFile, dict[str, list[str]]]:
    """An archive and its folders; anew for another process, whose place in an inherited file would be shared."""
    try:
        archive = ZipFile(file)
    except BadZipFile as error:
        raise VideoError(Path(file), f"no zip file, or a damaged one ({error}): copy it again") from error
    folders: dict[str, list[str]] = {}
    for name in archive.namelist():
        path = PurePosixPath(name)
        if not name.endswith("/") and str(path.parent) != ".":
            folders.setdefault(str(path.parent), []).append(path.name)
    return archive, folders
