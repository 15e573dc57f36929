"""Bounds on what one video may ask for, so that a file of a few kilobytes cannot take gigabytes or hours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from episodes.video.info import VideoError

VARIABLE = "FSAR_MAX_PIXELS"
"""Environment variable, so that all worker processes know it: pixels of one frame or image that are decoded at most."""
PIXELS = 2**26
"""The same where the variable is not set: twice a frame of 8K."""
PACKETS = 100_000
"""Packets that are held at most; a longer stream is gone through twice."""
PATIENCE = 1000
"""Packets in a row that may give no frame."""

_deadline: ContextVar[tuple[float, float] | None] = ContextVar("deadline", default=None)


class TooManyPixels(VideoError):
    """A frame or image that is not decoded for its size."""


def max_pixels() -> int:
    """Pixels of one frame or image that are decoded at most.

    Raises:
        ValueError: when the environment says something else than a positive number.
    """
    text = os.environ.get(VARIABLE, str(PIXELS))
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{VARIABLE} must be a number of pixels, more than 0; found {text!r}.")
    return int(text)


def check_pixels(path: str | Path, width: int, height: int, name: str = "") -> None:
    """Refuse a frame, or the image of that name, before it is decoded.

    Raises:
        TooManyPixels: when it has more than :func:`max_pixels`.
    """
    if width * height > (most := max_pixels()):
        raise TooManyPixels(
            path,
            f"{name or 'its header'} claims {width:,} x {height:,} pixels, and at most {most:,} are decoded: scale it "
            f"down, or set {VARIABLE} to more",
        )


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Reading inside the block ends in a VideoError after so many seconds; None: it takes as long as it takes.

    PyAV and images stop between two packets or images; decord and torchcodec do not stop.
    """
    token = _deadline.set(None if seconds is None else (time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def check_time(path: str | Path) -> None:
    """Raises VideoError when the time of the block is over."""
    deadline = _deadline.get()
    if deadline is not None and time.monotonic() > deadline[0]:
        raise VideoError(path, f"not read within {deadline[1]:g} seconds: give a shorter clip, or more time")
