"""Do two videos show the same? Found by a few small gray pictures of each, so that coding and size do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from episodes.video.info import Pixels
from episodes.video.reading import read_clip

FRAMES, SIDE = 8, 16
DENSE = 64
"""Frames of a video that are looked at where it is compared with few others."""
WINDOW = 0.15
"""Share of a video's length by which frames that belong together may lie apart, as with other frame rates."""
STILL, MOVING = 3.0, 8.0
"""Mean difference of gray values (0 to 255) up to which two videos may be the same; coding blurs what moves."""
MOTION = 1.5
"""Standard deviation over time from which on there is movement to compare; coding alone gives less."""
LIKENESS = 0.85
"""Correlation of what moves, from which on two videos are the same."""

Sketch = npt.NDArray[np.float32]
"""``(t h w)`` gray values of some frames, first and last among them."""


def sketch(path: str | Path, frames: int = DENSE) -> Sketch:
    """The small pictures of a video.

    Raises:
        VideoError: when it cannot be read.
    """
    return draw(read_clip(path, lambda there, fps: spread(there, min(there, frames))))


def spread(there: int, frames: int = FRAMES) -> npt.NDArray[np.int64]:
    """Numbers ``(t)`` of so many frames, evenly from the first to the last."""
    return np.linspace(0, there - 1, frames).round().astype(np.int64)


def draw(pixels: Pixels) -> Sketch:
    """Small gray pictures ``(t h w)`` of frames ``(t h w c)``."""
    small = [Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX) for frame in pixels]
    return np.stack([np.asarray(image, dtype=np.float32) for image in small])


def alike(a: Sketch, b: Sketch) -> bool:
    """Do they show the same? Two recordings before one background do not: what moves must move alike."""
    a, b = sorted((a, b), key=len)
    a = a[spread(len(a), min(len(a), FRAMES))]
    b = b[_nearest(a, b)]
    differ = abs(a - b).mean()
    moves_a, moves_b = a - a.mean(0), b - b.mean(0)
    norms = float(np.linalg.norm(moves_a)), float(np.linalg.norm(moves_b))
    if max(norms) < MOTION * a.size**0.5:
        return bool(differ <= STILL)
    return bool(differ <= MOVING) and float((moves_a * moves_b).sum()) >= LIKENESS * norms[0] * norms[1]


def _nearest(a: Sketch, b: Sketch) -> npt.NDArray[np.int64]:
    """For each frame of ``a`` the frame of ``b`` that is most like it, among those at about that time."""
    apart = abs(np.linspace(0, 1, len(a))[:, None] - np.linspace(0, 1, len(b)))
    differ = abs(a[:, None] - b[None]).mean((-2, -1))
    return np.where(apart <= max(WINDOW, 0.5 / len(b)), differ, np.inf).argmin(1)
