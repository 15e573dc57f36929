"""Pictures of flat shapes on textured backgrounds, in numpy, the same pixels on every machine.

A shape is a signed distance field, tabulated once; painting looks the distance up for every pixel and covers the pixel
by how far it lies inside, which gives smooth edges. Everything is vectorised over frames ``(f h w c)``.
What numpy may round differently from machine to machine (sin, cos) is rounded to a coarse grid before it is used;
the rest is plain IEEE arithmetic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Item = TypeVar("Item")

SIDE = 64  # pixels
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.12, 0.14),
    "orange": (0.97, 0.55, 0.08),
    "yellow": (0.98, 0.88, 0.16),
    "green": (0.10, 0.62, 0.22),
    "blue": (0.12, 0.30, 0.86),
    "purple": (0.52, 0.18, 0.66),
    "pink": (0.98, 0.52, 0.72),
    "cyan": (0.20, 0.82, 0.88),
    "white": (0.97, 0.97, 0.97),
    "black": (0.08, 0.08, 0.10),
}


class Dice:
    """Random numbers that depend on the key alone: splitmix64 over a counter, so no library's stream can change them.

    Args:
        key: anything printable; equal keys give equal numbers.
    """

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        self._state = np.array([int.from_bytes(digest[:8], "big")], dtype=np.uint64)

    def array(self, *shape: int) -> Array:
        """Uniform numbers in [0, 1) of the given shape."""
        count = int(np.prod(shape))
        z = self._state + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._state = z[-1:]
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high)."""
        return low + (high - low) * float(self.array(1)[0])

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[int(self.uniform(0, len(items)))]


@dataclass(frozen=True)
class Sprite:
    """One shape over ``f`` frames. Lengths are fractions of the frame's side; every field broadcasts to ``(f)``.

    Args:
        kind: index into :data:`KINDS`.
        x: centre, from the left edge.
        y: centre, from the top edge.
        width: half the width.
        height: half the height.
        colour: ``(f 3)`` or ``(3)`` in [0, 1].
        turn: clockwise, in full turns.
        opacity: 1 hides what is behind.
        outline: whether a darker line runs along the edge.
    """

    kind: ArrayLike
    x: ArrayLike
    y: ArrayLike
    width: ArrayLike
    height: ArrayLike
    colour: ArrayLike
    turn: ArrayLike = 0.0
    opacity: ArrayLike = 1.0
    outline: bool = True


_REACH, _STEPS = 1.5, 192  # the table covers [-1.5, 1.5]² with 64 cells to a shape's radius


def _circle(p: Array, x: float, y: float, radius: float) -> Array:
    return np.sqrt((p[..., 0] - x) ** 2 + (p[..., 1] - y) ** 2) - radius


def _polygon(p: Array, corners: Sequence[tuple[float, float]]) -> Array:
    """Exact signed distance to a simple polygon, negative inside."""
    nearest = np.full(p.shape[:-1], np.inf)
    inside = np.zeros(p.shape[:-1], dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = p[..., 0] - ax, p[..., 1] - ay
        along = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        nearest = np.minimum(nearest, (wx - ex * along) ** 2 + (wy - ey * along) ** 2)
        crosses = (ay > p[..., 1]) != (by > p[..., 1])
        inside ^= crosses & ((wx * ey < wy * ex) == (ey > 0))
    return np.where(inside, -1.0, 1.0) * np.sqrt(nearest)


def _around(count: int, *radii: float) -> list[tuple[float, float]]:
    """Corners at equal angles, the first on top, at radii taken in turn."""
    angles = [2 * np.pi * i / count for i in range(count)]
    return [
        (round(float(np.sin(a)) * radii[i % len(radii)], 4), round(-float(np.cos(a)) * radii[i % len(radii)], 4))
        for i, a in enumerate(angles)
    ]


def _shapes(p: Array) -> dict[str, Array]:
    """Signed distance of every kind of shape at the points ``(... 2)``; y points down, the radius is 1."""
    petals = [_circle(p, x, y, 0.42) for x, y in _around(6, 0.58)]
    return {
        "circle": _circle(p, 0, 0, 0.92),
        "square": _polygon(p, [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)]),
        "triangle": _polygon(p, [(0, -0.95), (0.95, 0.75), (-0.95, 0.75)]),
        "star": _polygon(p, _around(10, 1.08, 0.44)),
        "heart": np.minimum.reduce(
            [
                _circle(p, -0.46, -0.36, 0.5),
                _circle(p, 0.46, -0.36, 0.5),
                _polygon(p, [(-0.9, -0.12), (0, -0.55), (0.9, -0.12), (0, 0.98)]),
            ]
        ),
        "cross": np.minimum(
            _polygon(p, [(-0.32, -0.98), (0.32, -0.98), (0.32, 0.98), (-0.32, 0.98)]),
            _polygon(p, [(-0.98, -0.32), (0.98, -0.32), (0.98, 0.32), (-0.98, 0.32)]),
        ),
        "ring": np.maximum(_circle(p, 0, 0, 0.98), -_circle(p, 0, 0, 0.52)),
        "moon": np.maximum(_circle(p, 0.1, 0, 0.98), -_circle(p, 0.55, -0.12, 0.8)),
        "arrow": _polygon(
            p, [(0, -1), (0.85, -0.1), (0.3, -0.1), (0.3, 0.98), (-0.3, 0.98), (-0.3, -0.1), (-0.85, -0.1)]
        ),
        "flower": np.maximum(np.minimum.reduce([*petals, _circle(p, 0, 0, 0.5)]), -_circle(p, 0, 0, 0.2)),
        "house": _polygon(
            p, [(0, -1), (1, -0.1), (0.72, -0.1), (0.72, 0.9), (0.2, 0.9), (0.2, 0.35), (-0.2, 0.35), (-0.2, 0.9),
                (-0.72, 0.9), (-0.72, -0.1), (-1, -0.1)]
        ),
        "tree": np.minimum(
            np.minimum(
                _polygon(p, [(0, -1.05), (0.58, -0.2), (-0.58, -0.2)]),
                _polygon(p, [(0, -0.6), (0.85, 0.55), (-0.85, 0.55)]),
            ),
            _polygon(p, [(-0.18, 0.4), (0.18, 0.4), (0.18, 1), (-0.18, 1)]),
        ),
    }  # fmt: skip


KINDS: tuple[str, ...] = tuple(_shapes(np.zeros((1, 2))))


@cache
def _table() -> NDArray[np.float32]:
    """``(kinds rows columns)`` signed distances on the grid."""
    axis = np.linspace(-_REACH, _REACH, _STEPS + 1)
    points = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1)
    return np.stack(list(_shapes(points).values())).astype(np.float32)


def _per_frame(value: ArrayLike) -> Array:
    """A number or ``(f)`` -> ``(f or 1, 1, 1)``, on a grid that forgets the last bits of sin and cos."""
    return np.atleast_1d(np.rint(np.asarray(value, dtype=np.float64) * 65536) / 65536)[:, None, None]


def paint(canvas: NDArray[np.float32], sprite: Sprite) -> None:
    """Lays ``sprite`` over ``canvas`` ``(f h w 3)`` in [0, 1], in place."""
    side = canvas.shape[1]
    axis = (np.arange(side) + 0.5) / side
    width, height = np.maximum(_per_frame(sprite.width), 1e-3), np.maximum(_per_frame(sprite.height), 1e-3)
    angle = 2 * np.pi * np.asarray(sprite.turn, dtype=np.float64)
    cos, sin = _per_frame(np.cos(angle)), _per_frame(np.sin(angle))
    x = axis[None, None, :] - _per_frame(sprite.x)
    y = axis[None, :, None] - _per_frame(sprite.y)
    scale = _STEPS / (2 * _REACH)
    column = np.rint((cos * x + sin * y) / width * scale).clip(-_STEPS // 2, _STEPS // 2).astype(np.intp) + _STEPS // 2
    row = np.rint((cos * y - sin * x) / height * scale).clip(-_STEPS // 2, _STEPS // 2).astype(np.intp) + _STEPS // 2
    kind = np.atleast_1d(np.asarray(sprite.kind, dtype=np.intp))[:, None, None]
    distance = _table()[kind, row, column] * (np.minimum(width, height) * side).astype(np.float32)
    opacity = _per_frame(sprite.opacity).astype(np.float32)
    cover = (np.float32(0.5) - distance).clip(0, 1) * opacity
    core = (np.float32(-0.5) - distance).clip(0, 1) * opacity if sprite.outline else cover
    colour = np.atleast_2d(np.asarray(sprite.colour, dtype=np.float32))[:, None, None, :]
    canvas *= 1 - cover[..., None]
    canvas += (core + (cover - core) * np.float32(0.45))[..., None] * colour


def to_uint8(canvas: NDArray[np.float32]) -> NDArray[np.uint8]:
    """``(f h w 3)`` in [0, 1] -> 0..255; 2 x 2 pixels share their tint (not their brightness), as in video files."""
    frames, side = canvas.shape[:2]
    brightness = 0.299 * canvas[..., 0] + 0.587 * canvas[..., 1] + 0.114 * canvas[..., 2]
    tint = (canvas - brightness[..., None]).reshape(frames, side // 2, 2, side // 2, 2, 3)
    shared = 0.25 * (tint[:, :, 0, :, 0] + tint[:, :, 0, :, 1] + tint[:, :, 1, :, 0] + tint[:, :, 1, :, 1])
    tinted = brightness[..., None] + shared.repeat(2, axis=1).repeat(2, axis=2)
    return np.rint(tinted.clip(0, 1) * np.float32(255)).astype(np.uint8)
