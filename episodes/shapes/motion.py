"""Shapes-motion, in the manner of Something-Something V2: the class is what happens, the things are random.

Every class has an opposite in the same split that is drawn by the same code and played backwards, so that the frames
of the two, taken as a bag, have exactly the same distribution. Only their order tells which class it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from episodes.shapes.drawing import COLOURS, KINDS, Array, Dice, Sprite, paint, to_uint8
from episodes.shapes.scenes import SCENES

UPRIGHT = ("triangle", "heart", "arrow", "house", "tree")  # kinds that look wrong upside down


@dataclass(frozen=True)
class Stage:
    """What a motion is told: how far it has come in each frame, and dice for everything else.

    Args:
        dice: this clip's random numbers.
        u: ``(f)`` progress from 0 to 1.
        palette: names of the colours that stand out.
    """

    dice: Dice
    u: Array
    palette: list[str]

    def thing(self, x: float | Array, y: float | Array, low: float = 0.11, high: float = 0.17) -> Sprite:
        """A random shape of a radius in [low, high) going through ``x``, ``y``, a little unsteadily."""
        radius = self.dice.uniform(low, high)
        kind = self.dice.pick(range(len(KINDS)))
        colour = COLOURS[self.dice.pick(self.palette)]
        return Sprite(kind, x + self._unsteady(), y + self._unsteady(), radius, radius, colour)

    def _unsteady(self) -> Array:
        swing = self.dice.uniform(0, 0.02) * np.sin(
            2 * np.pi * (self.dice.uniform(0.5, 2) * self.u + self.dice.uniform())
        )
        return swing + self.dice.uniform(-0.03, 0.03)

    def between(self, start: float, end: float) -> Array:
        """From ``start`` to ``end`` as the clip goes on."""
        return start + (end - start) * self.u


Motion = Callable[[Stage], list[Sprite]]


def _travel(x: tuple[float, float] | None, y: tuple[float, float] | None) -> Motion:
    """A straight way; None is a random place that is kept."""

    def motion(stage: Stage) -> list[Sprite]:
        along_x, along_y = (stage.between(*way) if way else stage.dice.uniform(0.25, 0.75) for way in (x, y))
        return [stage.thing(along_x, along_y)]

    return motion


def _zigzag(stage: Stage) -> list[Sprite]:
    phase = 2.5 * stage.u + stage.dice.pick((0.0, 0.5))
    sideways = 0.5 + 0.5 * (np.abs(2 * (phase % 1.0) - 1) - 0.5)
    return [stage.thing(sideways, stage.between(0.84, 0.16))]


def _swing_over(stage: Stage) -> list[Sprite]:
    return [stage.thing(0.5 - 0.3 * np.cos(np.pi * stage.u), 0.68 - 0.42 * np.sin(np.pi * stage.u))]


def _circle(stage: Stage) -> list[Sprite]:
    angle = 2 * np.pi * stage.u
    radius = stage.dice.uniform(0.24, 0.3)
    return [stage.thing(0.5 + radius * np.sin(angle), 0.5 - radius * np.cos(angle), 0.1, 0.15)]


def _bounce(stage: Stage) -> list[Sprite]:
    u, ground = stage.u, 0.8
    fall = 0.85 * (1 - (u / 0.4) ** 2)
    first = 0.4 * (1 - ((u - 0.575) / 0.175) ** 2)
    second = 0.16 * (1 - ((u - 0.875) / 0.125) ** 2)
    height = np.where(u < 0.4, fall, np.where(u < 0.75, first, second))
    drift = stage.dice.uniform(-0.2, 0.2)
    return [stage.thing(stage.between(0.5 - drift, 0.5 + drift), ground - height)]


def _grow(stage: Stage) -> list[Sprite]:
    thing = stage.thing(stage.dice.uniform(0.4, 0.6), stage.dice.uniform(0.4, 0.6))
    size = stage.between(stage.dice.uniform(0.05, 0.08), stage.dice.uniform(0.28, 0.36))
    return [replace(thing, width=size, height=size)]


def _stretch(stage: Stage) -> list[Sprite]:
    thing = stage.thing(stage.dice.uniform(0.42, 0.58), stage.dice.uniform(0.35, 0.65), 0.12, 0.16)
    return [replace(thing, width=stage.between(0.06, stage.dice.uniform(0.32, 0.4)))]


def _fade_in(stage: Stage) -> list[Sprite]:
    thing = stage.thing(stage.dice.uniform(0.3, 0.7), stage.dice.uniform(0.3, 0.7), 0.15, 0.24)
    return [replace(thing, opacity=stage.u)]


def _darken(stage: Stage) -> list[Sprite]:
    thing = stage.thing(stage.dice.uniform(0.3, 0.7), stage.dice.uniform(0.3, 0.7), 0.15, 0.24)
    bright = np.asarray(COLOURS[stage.dice.pick(("red", "orange", "yellow", "pink", "cyan", "white"))])
    return [replace(thing, colour=bright * stage.between(1.0, 0.12)[:, None])]


def _turn_over(stage: Stage) -> list[Sprite]:
    thing = stage.thing(stage.dice.uniform(0.35, 0.65), stage.dice.uniform(0.35, 0.65), 0.18, 0.26)
    half = stage.dice.pick((-0.5, 0.5))
    return [replace(thing, kind=KINDS.index(stage.dice.pick(UPRIGHT)), turn=half * stage.u)]


def _approach(stage: Stage) -> list[Sprite]:
    y, gap = stage.dice.uniform(0.3, 0.7), stage.between(0.37, 0.14)
    return [stage.thing(0.5 - gap, y, 0.09, 0.14), stage.thing(0.5 + gap, y, 0.09, 0.14)]


def _put_on_top(stage: Stage) -> list[Sprite]:
    x = stage.dice.uniform(0.35, 0.65)
    below = stage.thing(x, 0.78, 0.13, 0.17)
    start = x + stage.dice.uniform(-0.2, 0.2)
    return [below, stage.thing(start + (x - start) * stage.u, stage.between(0.1, 0.52), 0.1, 0.13)]


def _cover(stage: Stage) -> list[Sprite]:
    x, y = stage.dice.uniform(0.4, 0.6), stage.dice.uniform(0.4, 0.6)
    far = 0.7 * stage.dice.pick((-1.0, 1.0))
    sideways = stage.dice.chance(0.5)
    cloth = stage.thing(x + far * (1 - stage.u) * sideways, y + far * (1 - stage.u) * (not sideways), 0.3, 0.36)
    return [stage.thing(x, y), replace(cloth, kind=KINDS.index("square"))]


def _hide_behind(stage: Stage) -> list[Sprite]:
    x, y = stage.dice.uniform(0.42, 0.58), stage.dice.uniform(0.35, 0.65)
    far = 0.42 * stage.dice.pick((-1.0, 1.0))
    front = replace(stage.thing(x, y, 0.22, 0.27), kind=KINDS.index(stage.dice.pick(("square", "circle"))))
    return [stage.thing(x + far * (1 - stage.u), y, 0.09, 0.13), front]


def _split(stage: Stage) -> list[Sprite]:
    whole = stage.thing(0.5, stage.dice.uniform(0.35, 0.65), 0.11, 0.16)
    gap = stage.between(0.0, stage.dice.uniform(0.24, 0.3))
    tilt = stage.dice.uniform(-0.4, 0.4) * gap
    return [
        replace(whole, x=np.asarray(whole.x) + sign * gap, y=np.asarray(whole.y) + sign * tilt) for sign in (-1.0, 1.0)
    ]


def _sink(stage: Stage) -> list[Sprite]:
    level = stage.dice.uniform(0.48, 0.56)
    water = Sprite(KINDS.index("square"), 0.5, level + 0.41, 0.7, 0.5, (0.10, 0.36, 0.72), opacity=0.8, outline=False)
    return [stage.thing(stage.dice.uniform(0.3, 0.7), stage.between(0.18, 0.84), 0.11, 0.16), water]


# split -> (what happens, the same played backwards, how it is drawn)
MOTIONS: dict[str, tuple[tuple[str, str, Motion], ...]] = {
    "train": (
        ("moving something from left to right", "moving something from right to left", _travel((0.16, 0.84), None)),
        ("moving something up", "moving something down", _travel(None, (0.84, 0.16))),
        (
            "moving something from the top left to the bottom right",
            "moving something from the bottom right to the top left",
            _travel((0.16, 0.84), (0.16, 0.84)),
        ),
        (
            "something entering from the left edge",
            "something leaving through the left edge",
            _travel((-0.2, 0.5), None),
        ),
        ("something entering from the top edge", "something leaving through the top edge", _travel(None, (-0.2, 0.5))),
        ("swinging something over to the right", "swinging something over to the left", _swing_over),
        ("something growing bigger", "something getting smaller", _grow),
        ("something fading in", "something fading out", _fade_in),
        ("turning something upside down", "turning something the right way up", _turn_over),
        (
            "moving something and something closer to each other",
            "moving something and something away from each other",
            _approach,
        ),
        ("putting something on top of something", "lifting something off something", _put_on_top),
        ("covering something with something", "uncovering something", _cover),
    ),
    "val": (
        (
            "something entering from the right edge",
            "something leaving through the right edge",
            _travel((1.2, 0.5), None),
        ),
        ("something zigzagging up", "something zigzagging down", _zigzag),
        ("something turning dark", "something turning bright", _darken),
        ("stretching something wide", "squeezing something narrow", _stretch),
    ),
    "test": (
        (
            "moving something from the bottom left to the top right",
            "moving something from the top right to the bottom left",
            _travel((0.16, 0.84), (0.84, 0.16)),
        ),
        ("something falling and bouncing", "something bouncing up and flying off", _bounce),
        ("moving something in a circle clockwise", "moving something in a circle anticlockwise", _circle),
        ("hiding something behind something", "pulling something out from behind something", _hide_behind),
        ("splitting something in two", "joining two things into one", _split),
        ("sinking something into water", "lifting something out of water", _sink),
    ),
}
CLASSES: dict[str, tuple[str, ...]] = {
    split: tuple(name for forward, backward, _ in pairs for name in (forward, backward))
    for split, pairs in MOTIONS.items()
}
# split -> pairs of class ids that are each other played backwards
OPPOSITES: dict[str, tuple[tuple[int, int], ...]] = {
    split: tuple((2 * i, 2 * i + 1) for i in range(len(pairs))) for split, pairs in MOTIONS.items()
}
_DRAWN_BY = {
    name: (motion, backwards)
    for pairs in MOTIONS.values()
    for forward, backward, motion in pairs
    for name, backwards in ((forward, False), (backward, True))
}


def render(class_name: str, *key: object) -> NDArray[np.uint8]:
    """One clip ``(t h w c)`` of 16 to 24 frames.

    Args:
        class_name: one of :data:`CLASSES`.
        key: decides everything else; with one key, a class and its opposite are each other's reversal, frame by frame.
    """
    motion, backwards = _DRAWN_BY[class_name]
    dice = Dice(*key)
    count = dice.pick(range(16, 25))
    rest_before, rest_after = dice.uniform(0, 0.12), dice.uniform(0, 0.12)
    u = ((np.arange(count) / (count - 1) - rest_before) / (1 - rest_before - rest_after)).clip(0, 1)
    ease = dice.uniform()
    scene = dice.pick(SCENES)
    stage = Stage(dice, (1 - ease) * u + ease * u * u * (3 - 2 * u), scene.palette())
    canvas = np.repeat(scene.draw(dice)[None], count, axis=0)
    sprites = motion(stage)
    if dice.chance(0.3):  # something that only stands there
        still = Stage(dice, np.zeros(1), stage.palette)
        sprites.insert(0, still.thing(dice.uniform(0.1, 0.9), dice.uniform(0.1, 0.9), 0.06, 0.09))
    for sprite in sprites:
        paint(canvas, sprite)
    frames = to_uint8(canvas)
    return frames[::-1] if backwards else frames
