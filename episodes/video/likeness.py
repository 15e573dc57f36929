"""Do two videos show the same? Found by a few small gray pictures of each, so that coding and size do not matter."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from episodes.video.info import Pixels, VideoError
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
LIKENESS, SUSPECT = 0.85, 0.6
"""Correlation of what moves, from which on two videos are the same; and from which on a closer look is worth it."""
BLOCK = 1024

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


def pack(small: Sketch) -> str:
    """A sketch as text."""
    return base64.b64encode(small.round().astype(np.uint8).tobytes()).decode()


def unpack(text: str) -> Sketch:
    """What :func:`pack` made a text of."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)


def find_alike(paths: Sequence[str | Path], sketches: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of videos that show the same, by their numbers.

    Args:
        paths: of the videos, whose frames are read again where a pair is suspect.
        sketches: of the videos, of one number of frames, as :func:`pack` gives them.
    """
    close: dict[int, Sketch | None] = {}

    def look(video: int) -> Sketch | None:
        if video not in close:
            try:
                close[video] = sketch(paths[video])
            except VideoError:
                close[video] = None
        return close[video]

    found = []
    for a, b in _suspects(sketches):
        first, second = look(a), look(b)
        if first is not None and second is not None and alike(first, second):
            found.append((a, b))
    return sorted(found)


def _suspects(sketches: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of about one brightness that move somewhat alike, or are both still and look alike."""
    light = np.array([unpack(text).mean() for text in sketches])
    order = light.argsort(kind="stable")
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        small, moves = _stack([sketches[row] for row in rows])
        stop = int(np.searchsorted(light[order], light[rows[-1]] + MOVING, "right"))
        for first in range(start, stop, BLOCK):
            columns = order[first : min(first + BLOCK, stop)]
            others, others_move = (small, moves) if first == start else _stack([sketches[i] for i in columns])
            still = ~np.logical_or.outer(moves.any(1), others_move.any(1))
            for i, j in np.argwhere((moves @ others_move.T >= SUSPECT) | still):
                if first + j > start + i and abs(small[i] - others[j]).mean() <= (STILL if still[i, j] else 2 * MOVING):
                    a, b = sorted((int(rows[i]), int(columns[j])))
                    yield a, b


def _stack(sketches: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """``(v d)`` gray values, and what moves in them to length 1, or 0 where nothing does."""
    small = np.stack([unpack(text) for text in sketches])
    moves = (small - small.mean(1, keepdims=True)).reshape(len(small), -1)
    norms = np.linalg.norm(moves, axis=1, keepdims=True)
    moves = np.where(norms < MOTION * moves.shape[1] ** 0.5, 0, moves / np.maximum(norms, 1e-6))
    return small.reshape(len(small), -1), moves.astype(np.float32)


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
