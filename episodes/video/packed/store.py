"""A packed store: frames of many videos, uncompressed, in one file that is mapped into memory.

A store is a folder ``<name>.pack`` with

``frames.bin``
    uint8 RGB, the clips one after the other, each ``(t h w c)``
``index.jsonl``
    one line per clip, here broken in two: ``{"clip": "wave/0001", "offset": 0, "shape": [t, h, w, 3], "fps": 5.9,
    "crc32": "8 digits for each frame", "line": 1234567890}``, the last the crc32 of the line before its last comma

A clip is addressed like a file, ``<name>.pack/wave/0001``, and read like a video that has ``t`` frames. A line of the
index is written after its frames, so whatever interrupts the writing, a store holds whole clips only; of two lines of
one clip the later counts. Lines are checked when the store is opened, every frame when it is first read in a process.
"""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from episodes.files import write_atomically
from episodes.files.locks import held_alone
from episodes.video.info import Choose, Pixels, VideoError, VideoInfo, checked_indices
from episodes.video.packed.index import Place, line_of, read_index, sums_of
from episodes.words import pluralise

SUFFIX = ".pack"
FRAMES, INDEX = "frames.bin", "index.jsonl"
ANEW = "`fsar prepare-videos --form pack --verify` with the same options makes anew what is damaged."


class Store(NamedTuple):
    """An open store: its mapped frames, its clips, and which frames of each (t) were found to be what was written."""

    frames: NDArray[np.uint8]
    places: dict[str, Place]
    seen: dict[str, NDArray[np.bool_]]


def is_packed(path: Path) -> bool:
    """True for the path of a clip in a packed store."""
    return any(parent.suffix == SUFFIX and (parent / INDEX).is_file() for parent in path.parents)


def inspect(path: Path) -> VideoInfo:
    """Number of frames that are kept, their frames per second, and their size.

    Raises:
        VideoError: when the store cannot be read or has no such clip.
    """
    _, _, place = _find(path)
    frames, height, width, _ = place.shape
    return VideoInfo(frames, place.fps, height, width)


def read(path: Path, choose: Choose) -> Pixels:
    """``(t h w c)`` uint8 RGB of the frames that ``choose`` wants.

    Raises:
        VideoError: when the store cannot be read, has no such clip or not the frames asked for, or when they are not
            what was written.
    """
    store, name, place = _find(path)
    indices = np.asarray(checked_indices(path, choose, place.shape[0], place.fps))
    pixels: Pixels = np.array(place.cut(store.frames)[indices])
    seen = store.seen.get(name)
    if seen is None:
        seen = store.seen[name] = np.full(place.shape[0], not place.sums)
    if not seen[indices].all():
        if damaged := np.unique(indices[~place.compare(pixels, indices)]).tolist():
            file = _store_of(path) / FRAMES
            raise VideoError(path, f"frames {damaged} in {file} are not what was written. {ANEW}")
        seen[indices] = True
    return pixels


def verify(path: Path) -> VideoInfo:
    """Read every frame of a clip; what :func:`inspect` says of it.

    Raises:
        VideoError: see :func:`read`.
    """
    read(path, lambda frames, fps: range(frames))
    return inspect(path)


def place_of(path: Path) -> Place | None:
    """Where a clip lies in its store; None for what is no clip of a store."""
    return _opened(_store_of(path)).places.get(_name(path)) if is_packed(path) else None


def clips(store: Path) -> list[str]:
    """Names of the clips in a store, in the order in which they were written."""
    return list(_opened(store).places)


def _store_of(path: Path) -> Path:
    store = next((parent for parent in path.parents if parent.suffix == SUFFIX), None)
    if store is None:
        raise VideoError(path, f"no clip of a packed store: expected <name>{SUFFIX}/<clip>")
    return store


def _name(path: Path) -> str:
    return path.relative_to(_store_of(path)).as_posix()


def _find(path: Path) -> tuple[Store, str, Place]:
    folder, name = _store_of(path), _name(path)
    store = _opened(folder)
    if name not in store.places:
        found = f"{folder} holds {pluralise(len(store.places), 'clip')}, but not '{name}'"
        raise VideoError(path, f"{found}: pack it with fsar prepare-videos")
    return store, name, store.places[name]


def _opened(store: Path) -> Store:
    try:
        state = os.stat(store / INDEX)
        return _open(store, state.st_size, state.st_mtime_ns)
    except (OSError, ValueError) as error:
        raise VideoError(store, f"not a packed store that can be read ({error}). {ANEW}") from error


@lru_cache(maxsize=8)
def _open(folder: Path, size: int, changed: int) -> Store:
    """The mapped frames and the index; looked up again when the index has changed."""
    places = read_index(folder / INDEX)
    frames: Any = np.memmap(folder / FRAMES, dtype=np.uint8, mode="r")
    if places and max(place.end for place in places.values()) > len(frames):
        raise ValueError(f"{FRAMES} is shorter than {INDEX} says")
    if any(not place.sums for place in places.values()):
        warnings.warn(
            f"{folder} was made before packed stores had checksums: damage to it cannot be seen. `python "
            "fsar prepare-videos --form pack` with the options it was made with adds them.",
            stacklevel=2,
        )
    return Store(frames, places, {})


class PackWriter:
    """Adds clips to a packed store, or goes on with one that was interrupted. Used in a ``with`` block, which holds the
    store's lock: another writer of it waits, see :func:`episodes.files.locks.held_alone`.

    Args:
        store: the folder, its name ending in ``.pack``.
        verify: read everything back and forget the clips that are not what was written, to have them added again.

    Attributes:
        places: of the clips that are there, inside the block.

    Raises:
        ValueError: when the name has another ending; on entering, when the index is damaged and ``verify`` is false.
    """

    def __init__(self, store: Path, verify: bool = False) -> None:
        if store.suffix != SUFFIX:
            raise ValueError(f"the name of a packed store ends in {SUFFIX}; found {store}. Try {store}{SUFFIX}.")
        self.store, self._verify = store, verify
        self.places: dict[str, Place] = {}
        self._open = ExitStack()

    def __enter__(self) -> PackWriter:
        with ExitStack() as stack:
            stack.enter_context(held_alone(self.store))
            self._frames = stack.enter_context((self.store / FRAMES).open("ab"))
            self.places = self._there(self._frames.tell())
            with write_atomically(self.store / INDEX) as part:  # without what was cut off, damaged or counts no more
                part.write_text("".join(line_of(clip, place) for clip, place in self.places.items()), encoding="utf-8")
            self._frames.truncate(max((place.end for place in self.places.values()), default=0))
            self._index = stack.enter_context((self.store / INDEX).open("a", encoding="utf-8"))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _there(self, size: int) -> dict[str, Place]:
        """The clips that stay; those that were written before there were checksums are given them."""
        index = self.store / INDEX
        try:
            places = read_index(index, skip_damaged=self._verify) if index.exists() else {}
            if not self._verify and any(place.end > size for place in places.values()):
                raise ValueError(f"{FRAMES} is shorter than {INDEX} says")
        except ValueError as error:
            raise ValueError(f"{self.store} cannot be gone on with ({error}). {ANEW}") from error
        places = {clip: place for clip, place in places.items() if place.end <= size}
        if not places or not (self._verify or any(not place.sums for place in places.values())):
            return places
        frames: Any = np.memmap(self.store / FRAMES, dtype=np.uint8, mode="r")
        return {
            clip: place if place.sums else place._replace(sums=sums_of(place.cut(frames)))
            for clip, place in places.items()
            if not (self._verify and place.sums) or place.compare(place.cut(frames), np.arange(place.shape[0])).all()
        }

    def add(self, clip: str, pixels: Pixels, fps: float) -> None:
        """Appends a clip.

        Args:
            clip: its name, with forward slashes.
            pixels: ``(t h w c)`` uint8.
            fps: of the kept frames.
        """
        pixels = np.ascontiguousarray(pixels)
        place = Place(self._frames.seek(0, os.SEEK_END), pixels.shape, fps, sums_of(pixels))
        self._frames.write(pixels.data)
        self._frames.flush()
        self._index.write(line_of(clip, place))
        self._index.flush()
        self.places[clip] = place
