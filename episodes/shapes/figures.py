"""Shapes-figures: a figure of joints in space does something; pictures of it, and the joints themselves.

A class is what the figure does, half of them are the others played backwards. It stands up to 40 degrees aside, is
tall or short, and never quite still. The pictures are what a camera in front of it sees, without depth: an arm that is
raised forwards is hardly told from one that hangs. The joints (COCO's 17, pixels, z away from the camera) tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from episodes.shapes.drawing import COLOURS, SIDE, Array, Dice, to_uint8
from episodes.shapes.scenes import SCENES

BONES = (
    *((0, 5), (0, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),
    *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),
)
"""That are drawn, between joints in COCO's order."""

# Angles in quarter turns, by the part that turns: "_out" from hanging to the side, "_up" from hanging to the front,
# "_bend" of the elbow or the knee; of the trunk "bow" to the front, "lean" to the right, "turn" about the upright axis;
# "rise" of the whole figure in its height.
Pose = Mapping[str, float]
DEEDS: dict[str, tuple[tuple[str, str, Pose], ...]] = {
    "train": (
        ("raising the left arm to the side", "lowering the left arm from the side", {"left_arm_out": 1.6}),
        ("raising the right arm to the side", "lowering the right arm from the side", {"right_arm_out": 1.6}),
        ("raising both arms to the front", "lowering both arms from the front", {"left_arm_up": 1, "right_arm_up": 1}),
        ("lifting the left leg to the front", "putting the left leg down from the front", {"left_leg_up": 0.9}),
        ("lifting the right leg to the side", "putting the right leg down from the side", {"right_leg_out": 0.7}),
        ("bowing", "straightening up from a bow", {"bow": 0.9}),
        ("leaning to the left", "coming back from the left", {"lean": -0.5}),
        ("squatting down", "standing up from a squat", {"squat": 1.0}),
        ("bending the left elbow", "stretching the left elbow", {"left_arm_bend": 1.4}),
        ("turning to the left", "turning back from the left", {"turn": -1.0}),
        ("raising the left arm to the front", "lowering the left arm from the front", {"left_arm_up": 1.1}),
        ("jumping up", "coming down from a jump", {"rise": 0.3}),
    ),
    "val": (
        ("raising the right arm to the front", "lowering the right arm from the front", {"right_arm_up": 1.1}),
        ("lifting the left leg to the side", "putting the left leg down from the side", {"left_leg_out": 0.7}),
        ("leaning to the right", "coming back from the right", {"lean": 0.5}),
        ("bending both elbows", "stretching both elbows", {"left_arm_bend": 1.4, "right_arm_bend": 1.4}),
    ),
    "test": (
        ("raising both arms to the side", "lowering both arms from the side",
         {"left_arm_out": 1.6, "right_arm_out": 1.6}),
        ("lifting the right leg to the front", "putting the right leg down from the front", {"right_leg_up": 0.9}),
        ("kicking backwards with the left leg", "bringing the left leg back to the front", {"left_leg_up": -0.7}),
        ("bending the right elbow", "stretching the right elbow", {"right_arm_bend": 1.4}),
        ("turning to the right", "turning back from the right", {"turn": 1.0}),
        ("reaching forwards with both arms in a bow", "coming back from reaching forwards",
         {"bow": 0.4, "left_arm_up": 1.3, "right_arm_up": 1.3}),
    ),
}  # fmt: skip
CLASSES = {split: tuple(name for deed in deeds for name in deed[:2]) for split, deeds in DEEDS.items()}
OPPOSITES = {split: tuple((2 * i, 2 * i + 1) for i in range(len(deeds))) for split, deeds in DEEDS.items()}
_MADE_OF = {
    name: (pose, bool(backwards))
    for deeds in DEEDS.values()
    for *names, pose in deeds
    for backwards, name in enumerate(names)
}


def _turned(points: Array, axis: int, quarters: Array | float) -> Array:
    """Points ``(f ... 3)`` turned about axis 0 (x), 1 (y) or 2 (z) by quarter turns ``(f)``."""
    angle = np.rint(np.asarray(quarters) * 65536) / 65536 * (np.pi / 2)
    cos, sin = (
        np.broadcast_to(np.rint(f(angle) * 65536) / 65536, points.shape[:1]).reshape(-1, *[1] * (points.ndim - 2))
        for f in (np.cos, np.sin)
    )
    a, b = ((1, 2), (2, 0), (0, 1))[axis]
    found = points.copy()
    found[..., a] = cos * points[..., a] - sin * points[..., b]
    found[..., b] = sin * points[..., a] + cos * points[..., b]
    return found


def _limb(start: Array, side: float, lengths: tuple[float, float], out: Array, up: Array, bend: Array) -> Array:
    """Elbow and hand, or knee and foot, ``(f 2 3)`` of a limb that hangs from ``start (f 3)``; y points up."""
    hang = np.zeros((len(out), 3))
    hang[:, 1] = -1.0
    upper = _turned(_turned(hang, 0, up), 2, side * out)
    lower = _turned(_turned(hang, 0, up + bend), 2, side * out)
    middle = start + lengths[0] * upper
    return np.stack([middle, middle + lengths[1] * lower], 1)


def _body(value: Callable[[str], Array], sway: Array) -> Array:
    """Joints ``(f 17 3)`` in the order of COCO; metres, x to the figure's left, y up, z to its front."""
    zeros = value("none")
    squat = value("squat")
    joints = np.zeros((len(zeros), 17, 3))
    head = [(0, 0.72, 0.1), (0.03, 0.76, 0.08), (-0.03, 0.76, 0.08), (0.07, 0.74, 0), (-0.07, 0.74, 0)]
    trunk = np.array([*head, (0.18, 0.5, 0), (-0.18, 0.5, 0)])  # above the hips
    above = _turned(_turned(np.repeat(trunk[None], len(zeros), 0), 0, value("bow")), 2, -value("lean") + sway)
    joints[:, :7] = above
    for joint, hip, side, name in ((7, 5, 1.0, "left"), (8, 6, -1.0, "right")):
        arm = _limb(
            above[:, hip], side, (0.28, 0.26), value(f"{name}_arm_out") + 0.08, -value(f"{name}_arm_up"),
            -value(f"{name}_arm_bend"),
        )  # fmt: skip
        joints[:, [joint, joint + 2]] = arm
    for hip, side, name in ((11, 1.0, "left"), (12, -1.0, "right")):
        joints[:, hip] = (side * 0.1, 0.0, 0.0)
        leg = _limb(
            joints[:, hip], side, (0.42, 0.42), value(f"{name}_leg_out") + 0.03,
            -value(f"{name}_leg_up") - 0.8 * squat, 1.6 * squat,
        )  # fmt: skip
        joints[:, [hip + 2, hip + 4]] = leg
    joints[..., 1] += (value("rise") - 0.6 * squat * 0.84)[:, None]
    return _turned(joints, 1, value("turn"))


def _pose(class_name: str, *key: object) -> tuple[Array, Dice]:
    """Joints ``(f 17 3)`` in pixels, y down and z away from the camera; and what is left of the dice."""
    wanted, backwards = _MADE_OF[class_name]
    dice = Dice(*key)
    count = dice.pick(range(16, 25))
    before, after = dice.uniform(0, 0.15), dice.uniform(0, 0.15)
    u = ((np.arange(count) / (count - 1) - before) / (1 - before - after)).clip(0, 1)
    u = u * u * (3 - 2 * u)
    force, view, tall = dice.uniform(0.85, 1.15), dice.uniform(-0.45, 0.45), dice.uniform(22.0, 28.0)
    rest: dict[str, float] = {}

    def value(name: str) -> Array:
        if name not in rest:
            rest[name] = dice.uniform(-0.06, 0.06)
        return rest[name] * (name not in ("squat", "rise", "none")) + force * wanted.get(name, 0.0) * u

    sway = 0.03 * np.sin(2 * np.pi * (u + dice.uniform()))
    joints = _turned(_body(value, sway), 1, view)
    shift = np.array([dice.uniform(-3, 3), dice.uniform(-2, 2), dice.uniform(-3, 3)])
    pixels = SIDE * np.array([0.5, 0.53, 0.0]) + shift + tall * joints * np.array([1.0, -1.0, -1.0])
    pixels = np.rint(pixels * 256) / 256
    return (pixels[::-1] if backwards else pixels), dice


def joints(class_name: str, *key: object) -> NDArray[np.float32]:
    """Joints ``(t 17 3)`` of the clip with that key, in the order of COCO."""
    return _pose(class_name, *key)[0].astype(np.float32)


def render(class_name: str, *key: object) -> NDArray[np.uint8]:
    """One clip ``(t h w c)`` of 16 to 24 frames: the figure as the camera sees it, bones as thick lines.

    Args:
        class_name: one of :data:`CLASSES`.
        key: decides everything else; with one key, a class and its opposite are each other's reversal.
    """
    points, dice = _pose(class_name, *key)
    scene = dice.pick(SCENES)
    canvas = np.repeat(scene.draw(dice)[None], len(points), axis=0)
    colour = np.array(COLOURS[dice.pick(scene.palette())], dtype=np.float32)
    flat = points[..., :2]
    row, column = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    distance = np.sqrt((flat[:, 0, 0, None, None] - column) ** 2 + (flat[:, 0, 1, None, None] - row) ** 2) - 2.5
    for a, b in BONES:
        start, way = flat[:, a, :, None, None], (flat[:, b] - flat[:, a])[..., None, None]
        x, y = column - start[:, 0], row - start[:, 1]
        share = ((x * way[:, 0] + y * way[:, 1]) / np.maximum((way**2).sum(1), 1e-9)).clip(0, 1)
        distance = np.minimum(distance, np.sqrt((x - share * way[:, 0]) ** 2 + (y - share * way[:, 1]) ** 2))
    cover = (2.0 - np.rint(distance * 4096) / 4096).clip(0, 1).astype(np.float32)[..., None]
    return to_uint8(canvas * (1 - cover) + cover * colour)
