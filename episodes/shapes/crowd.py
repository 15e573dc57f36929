"""Shapes-crowd: one thing of four is the class, and a small one; it alone moves, and its name and its box say which.

A class is a thing of one colour, such as "a red star among other things". Three others, of other kinds and colours,
stand still in the other quarters of the frame, and the scene says nothing. So a frame as a whole tells little of its
class: parts that look at a region by its motion, by a text or by a box have something to find. Things and colours of
validation and test classes occur in training, but never together there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from episodes.shapes.drawing import COLOURS, KINDS, SIDE, Array, Dice, Sprite, paint, to_uint8
from episodes.shapes.scenes import SCENES

_COLOURS = tuple(COLOURS)
_SHIFTS = {"train": (range(12), (0, 4)), "val": ((0, 3, 6, 9), (2, 7)), "test": ((1, 4, 8, 11), (1, 5, 8))}


def _name(kind: int, colour: str) -> str:
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {KINDS[kind]} among other things"


_MADE_OF = {
    split: {_name(k, _COLOURS[(k + shift) % 10]): (k, _COLOURS[(k + shift) % 10]) for k in kinds for shift in shifts}
    for split, (kinds, shifts) in _SHIFTS.items()
}
CLASSES: dict[str, tuple[str, ...]] = {split: tuple(named) for split, named in _MADE_OF.items()}
_THING_OF = {name: thing for named in _MADE_OF.values() for name, thing in named.items()}


def _draw(class_name: str, *key: object) -> tuple[NDArray[np.uint8], Array]:
    """Frames ``(t h w c)``, and the boxes of the class's thing ``(t 4)`` in pixels."""
    kind, colour = _THING_OF[class_name]
    dice = Dice(*key)
    count = dice.pick(range(16, 25))
    u = np.linspace(-0.5, 0.5, count)
    scene = dice.pick([scene for scene in SCENES if colour in scene.palette()])
    canvas = np.repeat(scene.draw(dice)[None], count, axis=0)
    quarters = [(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)]
    kinds = [k for k in range(len(KINDS)) if k != kind]
    colours = [name for name in scene.palette() if name != colour]
    for place in range(4):
        x, y = quarters.pop(int(dice.uniform(0, len(quarters))))
        x, y, radius = x + dice.uniform(-0.05, 0.05), y + dice.uniform(-0.05, 0.05), dice.uniform(0.11, 0.16)
        if place < 3:
            paint(canvas, Sprite(dice.pick(kinds), x, y, radius, radius, COLOURS[dice.pick(colours)]))
            continue
        phase, reach = dice.uniform(), dice.uniform(0.06, 0.1)
        across = x + reach * np.sin(2 * np.pi * (u + phase))
        down = y + reach * np.cos(2 * np.pi * (u + phase))
        paint(canvas, Sprite(kind, across, down, radius, radius, COLOURS[colour]))
        sides = np.stack([across - radius, down - radius, across + radius, down + radius], -1)
    return to_uint8(canvas), (np.rint(sides * SIDE)).clip(0, SIDE)


def render(class_name: str, *key: object) -> NDArray[np.uint8]:
    """One clip ``(t h w c)`` of 16 to 24 frames.

    Args:
        class_name: one of :data:`CLASSES`.
        key: decides everything else.
    """
    return _draw(class_name, *key)[0]


def boxes(class_name: str, *key: object) -> list[list[list[float]]]:
    """Where the class's thing stands in each frame of that clip: ``(t 1 4)``, x1 y1 x2 y2 in pixels."""
    found: list[list[list[float]]] = _draw(class_name, *key)[1][:, None].tolist()
    return found
