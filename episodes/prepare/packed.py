"""A packed store: frames of many videos, uncompressed, in one file that is mapped into memory.

A store is a folder ``<name>.pack`` with

``frames.bin``
    uint8 RGB, the clips one after the other, each ``(t h w c)``
``index.jsonl``
    one line per clip: ``{"clip": "wave/0001", "offset": 0, "shape": [t, h, w, 3], "fps": 5.9}``

A clip is addressed like a file, ``<name>.pack/wave/0001``, and read like a video that has ``t`` frames. A line of the
index is written after its frames, so whatever interrupts the writing, a store holds whole clips only.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from episodes.video.info import Choose, Pixels, VideoError, VideoInfo, checked_indices

SUFFIX = ".pack"
FRAMES, INDEX = "frames.bin", "index.jsonl"


class Place(NamedTuple):
    """Where a clip begins in ``frames.bin``, its shape ``(t h w c)``, and its frames per second."""

    offset: int
    shape: tuple[int, int, int, int]
    fps: float

    @property
    def end(self) -> int:
        return self.offset + int(np.prod(self.shape, dtype=np.int64))


def is_packed(path: Path) -> bool:
    """True for the path of a clip in a packed store."""
    return any(parent.suffix == SUFFIX and (parent / INDEX).is_file() for parent in path.parents)


def inspect(path: Path) -> VideoInfo:
    """Number of frames that are kept, their frames per second, and their size.

    Raises:
        VideoError: when the store cannot be read or has no such clip.
    """
    _, place = _find(path)
    frames, height, width, _ = place.shape
    return VideoInfo(frames, place.fps, height, width)


def read(path: Path, choose: Choose) -> Pixels:
    """``(t h w c)`` uint8 RGB of the frames that ``choose`` wants.

    Raises:
        VideoError: when the store cannot be read, has no such clip or not the frames asked for.
    """
    frames, place = _find(path)
    indices = checked_indices(path, choose, place.shape[0], place.fps)
    clip: Pixels = frames[place.offset : place.end].reshape(place.shape)
    return np.array(clip[indices])


def clips(store: Path) -> list[str]:
    """Names of the clips in a store, in the order in which they were written."""
    return list(_opened(store)[1])


def _find(path: Path) -> tuple[np.memmap[Any, Any], Place]:
    store = next((parent for parent in path.parents if parent.suffix == SUFFIX), None)
    if store is None:
        raise VideoError(path, f"no clip of a packed store: expected <name>{SUFFIX}/<clip>")
    frames, places = _opened(store)
    clip = path.relative_to(store).as_posix()
    if clip not in places:
        raise VideoError(
            path, f"{store} holds {len(places)} clips, but not '{clip}': pack it with tools/prepare_videos.py"
        )
    return frames, places[clip]


def _opened(store: Path) -> tuple[np.memmap[Any, Any], dict[str, Place]]:
    try:
        state = os.stat(store / INDEX)
        return _open(store, state.st_size, state.st_mtime_ns)
    except (OSError, ValueError, KeyError) as error:
        raise VideoError(store, f"not a packed store that can be read ({error}): make it anew") from error


@lru_cache(maxsize=8)
def _open(store: Path, size: int, changed: int) -> tuple[np.memmap[Any, Any], dict[str, Place]]:
    """The mapped frames and the index; looked up again when the index has changed."""
    places = read_index(store / INDEX)
    frames = np.memmap(store / FRAMES, dtype=np.uint8, mode="r")
    if places and max(place.end for place in places.values()) > len(frames):
        raise ValueError(f"{FRAMES} is shorter than {INDEX} says")
    return frames, places


def read_index(path: Path) -> dict[str, Place]:
    """The places of all clips; a last line that was cut off is passed over."""
    places = {}
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            entry = json.loads(line)
            t, h, w, c = entry["shape"]
            places[entry["clip"]] = Place(entry["offset"], (t, h, w, c), entry["fps"])
    return places


class PackWriter:
    """Adds clips to a packed store, or goes on with one that was interrupted. Used in a ``with`` block.

    Args:
        store: the folder, its name ending in ``.pack``.

    Raises:
        ValueError: when the name has another ending.
    """

    def __init__(self, store: Path) -> None:
        if store.suffix != SUFFIX:
            raise ValueError(f"the name of a packed store ends in {SUFFIX}; found {store}. Try {store}{SUFFIX}.")
        store.mkdir(parents=True, exist_ok=True)
        index = store / INDEX
        index.touch()
        self.places = read_index(index)
        whole = "".join(
            line for line in index.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
        )
        with index.open("r+b") as file:
            file.truncate(len(whole.encode()))
        self._index = index.open("a", encoding="utf-8")
        self._frames = (store / FRAMES).open("ab")
        self._frames.truncate(max((place.end for place in self.places.values()), default=0))

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames.close()
        self._index.close()

    def add(self, clip: str, pixels: Pixels, fps: float) -> None:
        """Appends a clip.

        Args:
            clip: its name, with forward slashes.
            pixels: ``(t h w c)`` uint8.
            fps: of the kept frames.
        """
        place = Place(self._frames.seek(0, os.SEEK_END), pixels.shape, fps)
        self._frames.write(np.ascontiguousarray(pixels).data)
        self._frames.flush()
        entry = {"clip": clip, "offset": place.offset, "shape": place.shape, "fps": fps}
        self._index.write(json.dumps(entry) + "\n")
        self._index.flush()
        self.places[clip] = place
