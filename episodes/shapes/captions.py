"""Still pictures from the world of Shapes and captions of what one picture shows: the tiny CLIP learns from them.

Nothing here moves, no caption speaks of motion, and a shape never stands in a scene with which it makes up a validation
or test class of Shapes-appearance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from episodes.shapes.appearance import PAIRS
from episodes.shapes.drawing import COLOURS, KINDS, SIDE, Dice, Sprite, paint, to_uint8
from episodes.shapes.motion import UPRIGHT
from episodes.shapes.scenes import SCENES, Scene

ROWS = ("top", "upper", "middle", "lower", "bottom")
COLUMNS = ("far left", "left", "centre", "right", "far right")
_UNSEEN = {*PAIRS["val"], *PAIRS["test"]}
_SEEN = [[kind for kind in range(len(KINDS)) if (kind, scene) not in _UNSEEN] for scene in range(len(SCENES))]


@dataclass(frozen=True)
class Thing:
    """One shape in a picture: the fields of :class:`~episodes.shapes.drawing.Sprite` for a single frame."""

    kind: int
    x: float
    y: float
    width: float
    height: float
    colour: str
    turn: float = 0.0
    opacity: float = 1.0
    light: float = 1.0

    def noun(self, dice: Dice) -> str:
        """ "a small faint red star": the kind always, the rest often."""
        words = []
        radius = (self.width * self.height) ** 0.5
        if dice.chance(0.8):
            sizes = (("tiny", 0.085), ("small", 0.125), ("medium-sized", 0.18), ("large", 0.25), ("huge", 9.0))
            words.append(next(word for word, limit in sizes if radius < limit))
        if self.width > 1.5 * self.height:
            words.append("wide")
        if self.height > 1.5 * self.width:
            words.append("narrow")
        if self.opacity < 0.75:
            words.append("barely visible" if self.opacity < 0.3 else "faint")
        if self.light < 0.65:
            words.append("very dark" if self.light < 0.35 else "dark")
        if dice.chance(0.5):
            words.append(self.colour)
        words.append(KINDS[self.kind] if dice.chance(0.7) else "shape")
        return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}{self._turned()}"

    def _turned(self) -> str:
        if KINDS[self.kind] not in UPRIGHT:
            return ""
        return ("", " lying on its right side", " upside down", " lying on its left side")[round(self.turn * 4) % 4]

    def place(self) -> str:
        """ "at the upper left"; five rows and five columns, or the edge that cuts it off."""
        if self.x < 0.02 or self.x > 0.98:
            return f"cut off by the {'left' if self.x < 0.5 else 'right'} edge"
        if self.y < 0.02 or self.y > 0.98:
            return f"cut off by the {'top' if self.y < 0.5 else 'bottom'} edge"
        row, column = ROWS[int(self.y * 5)], COLUMNS[int(self.x * 5)]
        return "in the centre" if (row, column) == ("middle", "centre") else f"at the {row} {column}"


def _thing(dice: Dice, scene: int, x: float, y: float, low: float = 0.055, high: float = 0.36) -> Thing:
    kind = dice.pick(_SEEN[scene])
    radius = low * (high / low) ** dice.uniform()
    stretch = dice.uniform(0.4, 2.5) if dice.chance(0.12) else 1.0
    turn = dice.pick((0.25, 0.5, 0.75)) if dice.chance(0.3) and KINDS[kind] in UPRIGHT else 0.0
    return Thing(
        kind=kind,
        x=x,
        y=y,
        width=radius * stretch**0.5,
        height=radius / stretch**0.5,
        colour=dice.pick(SCENES[scene].palette()),
        turn=turn + dice.uniform(-0.1, 0.1),
        opacity=dice.uniform(0.08, 0.8) if dice.chance(0.12) else 1.0,
        light=dice.uniform(0.12, 0.7) if dice.chance(0.1) else 1.0,
    )


def _anywhere(dice: Dice) -> tuple[float, float]:
    low, high = (-0.12, 1.12) if dice.chance(0.2) else (0.08, 0.92)
    return dice.uniform(low, high), dice.uniform(low, high)


def _things(dice: Dice, scene: int) -> list[Thing]:
    """None, one or two things, the one in front last."""
    draw = dice.uniform()
    if draw < 0.05:
        return []
    first = _thing(dice, scene, *_anywhere(dice))
    if draw < 0.6:
        return [first]
    if draw < 0.85:
        return [first, _thing(dice, scene, *_anywhere(dice), high=0.2)]
    x, y = first.x + dice.uniform(-0.2, 0.2), first.y + dice.uniform(-0.2, 0.2)
    return [first, _thing(dice, scene, x, y, low=0.08)]


def _relation(a: Thing, b: Thing) -> str:
    """How ``b``, in front, stands to ``a``."""
    across, down = b.x - a.x, b.y - a.y
    far, reach = max(abs(across), abs(down)), 0.8 * (a.width + b.width)
    if far < 0.5 * reach:
        return "in front of"
    side = ("right of" if across > 0 else "left of") if abs(across) > abs(down) else ("below" if down > 0 else "above")
    return f"touching and {side}" if far < 1.1 * reach else f"far {side}" if far > 0.5 else side


def caption(things: list[Thing], scene: Scene, dice: Dice, named: float = 0.15, placed: float = 0.3) -> str:
    """One sentence on the picture, at most 38 tokens; what it leaves out differs from time to time.

    Args:
        things: the one in front last.
        scene: behind them.
        dice: decide what is said.
        named: how often a single thing is only named, as in "a photo of a red star on grass".
        placed: how often, of the other times, it is only said where something is.
    """
    where = f" {scene.phrase}" if dice.chance(0.35) else ""
    start = "a photo of " if dice.chance(0.3) else ""
    if not things:
        return f"{start}nothing {scene.phrase}"
    first, last = things[0], things[-1]
    if len(things) == 1 and dice.chance(named):
        colour = f"{first.colour} " if dice.chance(0.4) else ""
        text = f"{colour}{KINDS[first.kind]}"
        return f"{start}{'an' if text[0] in 'aeiou' else 'a'} {text} {scene.phrase}"
    if len(things) == 1 and dice.chance(placed):
        return f"something {first.place()}"
    if len(things) == 1:
        return f"{start}{first.noun(dice)} {first.place()}{where}"
    if dice.chance(0.5):
        return f"{last.noun(dice)} {_relation(first, last)} {first.noun(dice)}{where}"
    return f"{first.noun(dice)} {first.place()} and {last.noun(dice)} {last.place()}{where}"


def _sprite(things: list[Thing]) -> Sprite:
    """One thing for each of ``f`` pictures -> the sprite that paints them all."""
    light = np.array([t.light for t in things])
    return Sprite(
        kind=np.array([t.kind for t in things]),
        x=np.array([t.x for t in things]),
        y=np.array([t.y for t in things]),
        width=np.array([t.width for t in things]),
        height=np.array([t.height for t in things]),
        colour=np.array([COLOURS[t.colour] for t in things]) * light[:, None],
        turn=np.array([t.turn for t in things]),
        opacity=np.array([t.opacity for t in things]),
    )


def captioned_frames(
    count: int,
    *key: object,
    captions: int = 1,
    scene: int | None = None,
    named: float = 0.15,
    placed: float = 0.3,
) -> tuple[NDArray[np.uint8], list[list[str]]]:
    """Random pictures ``(f h w c)`` and, for each, some captions.

    Args:
        count: how many pictures ``f``.
        key: decides everything.
        captions: how many captions for each picture.
        scene: index into ``SCENES`` of the background of all of them; None draws one for each.
        named: see :func:`caption`.
        placed: see :func:`caption`.
    """
    dice = Dice(*key)
    nothing = Thing(0, 0.5, 0.5, 0.1, 0.1, "red", opacity=0.0)
    canvas = np.empty((count, SIDE, SIDE, 3), dtype=np.float32)
    layers: list[list[Thing]] = [[], [], []]
    texts = []
    for i in range(count):
        number = dice.pick(range(len(SCENES))) if scene is None else scene
        canvas[i] = SCENES[number].draw(dice)
        things = _things(dice, number)
        still = _thing(dice, number, dice.uniform(0.1, 0.9), dice.uniform(0.1, 0.9), 0.06, 0.09)
        unmentioned = still if len(things) == 1 and dice.chance(0.25) else nothing
        for layer, thing in zip(layers, [unmentioned, *things, nothing, nothing], strict=False):
            layer.append(thing)
        texts.append([caption(things, SCENES[number], dice, named, placed) for _ in range(captions)])
    for layer in layers:
        paint(canvas, _sprite(layer))
    return to_uint8(canvas), texts
