"""The backgrounds: a dozen textures, each drawn anew from the dice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from episodes.shapes.drawing import COLOURS, SIDE, Array, Dice

_ROW, _COLUMN = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)


def _smooth(dice: Dice, cells: int) -> Array:
    """``(h w)`` in [0, 1): random values at ``cells + 1`` knots a side, joined linearly."""
    knots = dice.array(cells + 1, cells + 1)
    place = np.arange(SIDE) * (cells / SIDE)
    low = place.astype(np.intp)
    weight = place - low
    rows = knots[low] * (1 - weight[:, None]) + knots[low + 1] * weight[:, None]
    return rows[:, low] * (1 - weight) + rows[:, low + 1] * weight


def _mix(dark: tuple[float, ...], light: tuple[float, ...], share: Array) -> Array:
    """Two colours blended by ``share`` ``(h w)`` -> ``(h w 3)``."""
    return np.array(dark) + share[..., None] * (np.array(light) - np.array(dark))


def _grass(dice: Dice) -> Array:
    blades = 0.6 * dice.array(SIDE, SIDE) + 0.4 * _smooth(dice, 6)
    blades[1:] = 0.5 * blades[1:] + 0.5 * blades[:-1]
    return _mix((0.16, 0.36, 0.10), (0.48, 0.72, 0.24), blades)


def _sand(dice: Dice) -> Array:
    return _mix((0.72, 0.58, 0.36), (0.95, 0.84, 0.62), 0.45 * dice.array(SIDE, SIDE) + 0.55 * _smooth(dice, 8))


def _night(dice: Dice) -> Array:
    sky = _mix((0.02, 0.03, 0.12), (0.10, 0.10, 0.28), _smooth(dice, 3))
    return np.where((dice.array(SIDE, SIDE) > 0.985)[..., None], 0.95, sky)


def _bricks(dice: Dice) -> Array:
    high, wide = 8, 16
    course = (_ROW + dice.uniform(0, high)) // high
    column = _COLUMN + dice.uniform(0, wide) + (course % 2) * wide / 2
    mortar = ((_ROW + dice.uniform(0, 1)) % high < 1.2) | (column % wide < 1.2)
    shade = dice.array(16, 16)[course.astype(np.intp), (column // wide).astype(np.intp)]
    return np.where(mortar[..., None], 0.78, _mix((0.50, 0.20, 0.14), (0.72, 0.36, 0.26), shade))


def _checkers(dice: Dice) -> Array:
    cell = dice.pick((8, 10, 12))
    shift = dice.array(2) * cell
    odd = ((_ROW + shift[0]) // cell + (_COLUMN + shift[1]) // cell) % 2
    return _mix((0.28, 0.28, 0.30), (0.88, 0.88, 0.86), odd)


def _stripes(dice: Dice) -> Array:
    period = dice.pick((10, 12, 14))
    along = _COLUMN + dice.pick((-1.0, 0.0, 1.0)) * _ROW + dice.uniform(0, period) + 2 * SIDE
    light = COLOURS[dice.pick(("cyan", "pink", "yellow"))]
    soft = tuple(0.45 + 0.5 * c for c in light)
    return _mix(soft, (0.97, 0.97, 0.97), (along % period < period / 2).astype(np.float64))


def _dots(dice: Dice) -> Array:
    period = dice.pick((10, 12, 14))
    row = (_ROW + dice.uniform(0, period)) % period - period / 2
    column = (_COLUMN + dice.uniform(0, period)) % period - period / 2
    inside = (0.26 * period + 0.5 - np.sqrt(row**2 + column**2)).clip(0, 1)
    return _mix((0.46, 0.34, 0.62), (0.90, 0.82, 0.96), inside)


def _planks(dice: Dice) -> Array:
    wide = dice.pick((11, 13, 16))
    column = _COLUMN + dice.uniform(0, wide)
    grain = 0.5 * dice.array(8)[(column // wide).astype(np.intp)] + 0.5 * dice.array(1, SIDE)
    return _mix((0.42, 0.26, 0.12), (0.68, 0.48, 0.26), np.where(column % wide < 1, -0.6, grain))


def _water(dice: Dice) -> Array:
    phase = _ROW * 0.16 + 0.9 * _smooth(dice, 5) + dice.uniform()
    wave = np.abs(2 * (phase % 1.0) - 1)
    return _mix((0.08, 0.34, 0.62), (0.46, 0.76, 0.92), wave * wave)


def _sunset(dice: Dice) -> Array:
    share = (_ROW / SIDE + 0.12 * (_smooth(dice, 4) - 0.5)).clip(0, 1)
    return _mix((0.42, 0.22, 0.50), (1.00, 0.66, 0.28), share)


def _snow(dice: Dice) -> Array:
    flakes = (dice.array(SIDE, SIDE) > 0.97)[..., None]
    return np.where(flakes, 1.0, _mix((0.76, 0.84, 0.92), (0.93, 0.96, 0.99), _smooth(dice, 4)))


def _grid(dice: Dice) -> Array:
    cell = dice.pick((8, 10, 12))
    line = ((_ROW + dice.uniform(0, cell)) % cell < 1.4) | ((_COLUMN + dice.uniform(0, cell)) % cell < 1.4)
    return np.where(line[..., None], np.array([0.20, 0.62, 0.52]), np.array([0.93, 0.97, 0.94]))


@dataclass(frozen=True)
class Scene:
    """A background.

    Args:
        phrase: how it follows a noun: "a star *on grass*".
        colour: its usual colour, which objects must differ from.
        texture: dice -> ``(h w 3)`` in [0, 1].
    """

    phrase: str
    colour: tuple[float, float, float]
    texture: Callable[[Dice], Array]

    def draw(self, dice: Dice) -> NDArray[np.float32]:
        """One picture of it, ``(h w 3)`` in [0, 1], a little brighter or darker each time."""
        return (self.texture(dice) * dice.uniform(0.88, 1.08)).astype(np.float32)

    def palette(self) -> list[str]:
        """Names of the colours that stand out against it."""
        return [n for n, c in COLOURS.items() if sum((a - b) ** 2 for a, b in zip(c, self.colour, strict=True)) > 0.2]


SCENES: tuple[Scene, ...] = (
    Scene("on grass", (0.32, 0.54, 0.17), _grass),
    Scene("on sand", (0.84, 0.71, 0.49), _sand),
    Scene("in the night sky", (0.06, 0.06, 0.20), _night),
    Scene("on a brick wall", (0.61, 0.28, 0.20), _bricks),
    Scene("on a checkerboard", (0.58, 0.58, 0.58), _checkers),
    Scene("on stripes", (0.85, 0.87, 0.86), _stripes),
    Scene("on polka dots", (0.58, 0.46, 0.72), _dots),
    Scene("on wooden planks", (0.52, 0.34, 0.17), _planks),
    Scene("on water", (0.27, 0.55, 0.77), _water),
    Scene("at sunset", (0.71, 0.44, 0.39), _sunset),
    Scene("on snow", (0.85, 0.90, 0.96), _snow),
    Scene("on a grid", (0.85, 0.92, 0.88), _grid),
)
