"""Shapes-appearance, in the manner of Kinetics: the thing and the place are the class, the motion says nothing.

Every class pairs a kind of shape with a scene. Validation and test pair shapes and scenes that also occur in training,
but never together there, so that whoever understands the words can recognise them unseen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from episodes.shapes.drawing import COLOURS, KINDS, Dice, Sprite, paint, to_uint8
from episodes.shapes.scenes import SCENES

# split -> (kind, scene): shapes and scenes recur within a split, so that neither alone names the class
PAIRS: dict[str, tuple[tuple[int, int], ...]] = {
    "train": tuple((i, (i + shift) % 12) for i in range(12) for shift in (0, 1)),
    "val": tuple((kind, scene) for kind in (0, 3, 6, 9) for scene in (2, 8)),
    "test": tuple((kind, scene) for kind in (1, 4, 8, 11) for scene in (3, 6, 10)),
}


def _name(kind: int, scene: int) -> str:
    noun = KINDS[kind]
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun} {SCENES[scene].phrase}"


CLASSES: dict[str, tuple[str, ...]] = {split: tuple(_name(*pair) for pair in pairs) for split, pairs in PAIRS.items()}
_PAIR_OF = {_name(*pair): pair for pairs in PAIRS.values() for pair in pairs}


def render(class_name: str, *key: object) -> NDArray[np.uint8]:
    """One clip ``(t h w c)`` of 16 to 24 frames.

    Args:
        class_name: one of :data:`CLASSES`.
        key: decides everything else.
    """
    kind, scene = _PAIR_OF[class_name]
    dice = Dice(*key)
    count = dice.pick(range(16, 25))
    u = np.linspace(-0.5, 0.5, count)
    radius = dice.uniform(0.12, 0.26)
    phase = dice.uniform()
    sprite = Sprite(
        kind,
        dice.uniform(0.3, 0.7) + dice.uniform(-0.4, 0.4) * u + dice.uniform(0, 0.08) * np.sin(2 * np.pi * (u + phase)),
        dice.uniform(0.3, 0.7) + dice.uniform(-0.4, 0.4) * u + dice.uniform(0, 0.08) * np.cos(2 * np.pi * (u + phase)),
        radius * (1 + dice.uniform(-0.4, 0.4) * u),
        radius * (1 + dice.uniform(-0.4, 0.4) * u),
        COLOURS[dice.pick(SCENES[scene].palette())],
        turn=dice.uniform(-0.08, 0.08) + dice.uniform(-0.15, 0.15) * u,
    )
    canvas = np.repeat(SCENES[scene].draw(dice)[None], count, axis=0)
    paint(canvas, sprite)
    return to_uint8(canvas)
