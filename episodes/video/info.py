"""What is known of a video, and the one exception."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Choose = Callable[[int, float], npt.ArrayLike]
"""(frames, frames per second) -> the indices to read; what a frame sampler is, once ``t`` and a generator are bound."""


class VideoError(ValueError):
    """A video that cannot be read, or not as asked.

    It survives pickling, and the re-raising from one string that data loader workers do.

    Args:
        path: the file, or the whole message when ``cause`` is empty.
        cause: what is wrong with it and what to do.
    """

    def __init__(self, path: str | Path, cause: str = "") -> None:
        super().__init__(str(path), cause)
        self.path = str(path)
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}" if self.cause else self.path


@dataclass(frozen=True)
class VideoInfo:
    """What a look at a video says.

    Args:
        frames: how many frames decoding from start to end gives; not what the header claims.
        fps: average frames per second; 0 when unknown (a folder of images).
        height: pixels, upright.
        width: pixels, upright.
        note: what was decided that one should know: which of several streams is read, which images are left out.
    """

    frames: int
    fps: float
    height: int
    width: int
    note: str = ""


_TOLD: set[str] = set()


def mark_told(paths: Iterable[str | Path]) -> None:
    """Nothing more is to be said of these videos, by this process and those that it forks."""
    _TOLD.update(map(str, paths))


def tell_once(path: str | Path, note: str) -> None:
    """Warn of what is left out of a video, once."""
    if note and str(path) not in _TOLD:
        mark_told([path])
        warnings.warn(f"{path}: {note}", stacklevel=2)


def checked_indices(path: Path, choose: Choose, frames: int, fps: float) -> npt.NDArray[np.int64]:
    """The ``(t)`` indices that the caller wants of ``frames`` frames.

    Raises:
        VideoError: when there are none, when one lies outside ``0..frames-1``, or when ``choose`` raises ValueError.
    """
    try:
        indices = np.asarray(choose(frames, fps))
    except VideoError:
        raise
    except ValueError as error:
        raise VideoError(path, str(error)) from error
    if indices.ndim != 1 or not indices.size or indices.dtype.kind not in "iu":
        raise VideoError(path, f"frame indices must be a non-empty list of integers, found {indices!r}")
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= frames:
        raise VideoError(
            path, f"frame {low if low < 0 else high} was asked for, but its frames are 0..{frames - 1}: probe it first"
        )
    return indices.astype(np.int64)
