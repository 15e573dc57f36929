"""Joints of a body or a hand over time: named orders, and readers of files.

A file holds ``(t J 3)``: frames, joints, and x, y, z; NaN is a gap. Three orders are known by name: the 25 joints of
NTU RGB+D (Kinect v2; metres, y up), the 17 of COCO (pixels, y down; a z of 0 where there is none), and the 21 of one
hand as MediaPipe gives them (y down, z on the scale of x).
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from episodes.annotations import JOINT_SUFFIXES


class JointOrder(NamedTuple):
    """Names of the joints in their order, the bones between them, and whether y points up."""

    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    y_up: bool


_NTU = """base of spine, middle of spine, neck, head, left shoulder, left elbow, left wrist, left hand, right shoulder,
right elbow, right wrist, right hand, left hip, left knee, left ankle, left foot, right hip, right knee, right ankle,
right foot, spine, tip of left hand, left thumb, tip of right hand, right thumb"""
_COCO = """nose, left eye, right eye, left ear, right ear, left shoulder, right shoulder, left elbow, right elbow,
left wrist, right wrist, left hip, right hip, left knee, right knee, left ankle, right ankle"""
_FINGERS = {
    "thumb": ("cmc", "mcp", "ip", "tip"),
    **dict.fromkeys(("index finger", "middle finger", "ring finger", "pinky"), ("mcp", "pip", "dip", "tip")),
}


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


ORDERS = {
    "ntu": JointOrder(
        _names(_NTU),
        (
            *((0, 1), (1, 20), (20, 2), (2, 3), (20, 4), (4, 5), (5, 6), (6, 7), (7, 21), (7, 22)),
            *((20, 8), (8, 9), (9, 10), (10, 11), (11, 23), (11, 24)),
            *((0, 12), (12, 13), (13, 14), (14, 15), (0, 16), (16, 17), (17, 18), (18, 19)),
        ),
        y_up=True,
    ),
    "coco": JointOrder(
        _names(_COCO),
        (
            *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),
            *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),
        ),
        y_up=False,
    ),
    "hand": JointOrder(
        ("wrist", *(f"{finger} {joint}" for finger, joints in _FINGERS.items() for joint in joints)),
        (
            *((first + i, first + i + 1) for first in (1, 5, 9, 13, 17) for i in range(3)),  # along the fingers
            *((0, 1), (0, 5), (0, 17), (5, 9), (9, 13), (13, 17)),  # the palm
        ),
        y_up=False,
    ),
}
"""By name: ``ntu``, ``coco`` and ``hand``."""


def find_order(name: str) -> JointOrder:
    """The order of that name.

    Raises:
        ValueError: for another.
    """
    if name not in ORDERS:
        known = ", ".join(f"{key} ({len(order.names)} joints)" for key, order in ORDERS.items())
        raise ValueError(f"joints: there is no order {name!r}; known are {known}.")
    return ORDERS[name]


def read_joints(path: Path, order: str) -> Tensor:
    """Joints ``(t J 3)`` float32 of one clip, NaN for a gap.

    Args:
        path: ``.npy``; ``.npz`` with ``joints``, or one array alone; ``.json``, nested lists with null for a gap, or
            those under ``joints``; ``.csv`` with the columns frame, joint (name or number, from 0), x, y, z, where a
            row that is not there is a gap. An ``order`` in .npz or .json must be the one that is asked for.
        order: a name of :data:`ORDERS`.

    Raises:
        ValueError: a file of another kind, shape or order; it names the file.
    """
    wanted = find_order(order)
    try:
        found, told = _READERS[path.suffix](path, wanted)
    except KeyError as error:
        what = f"it lacks {error}" if path.suffix in _READERS else f"it must end in {', '.join(JOINT_SUFFIXES)}"
        raise ValueError(f"{path}: no joints can be read from it: {what}.") from error
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path}: no joints can be read from it ({error}).") from error
    if told is not None and told != order:
        raise ValueError(f"{path}: its joints are in the order {told!r}, but {order!r} is asked for.")
    if found.ndim != 3 or found.shape[1:] != (len(wanted.names), 3) or not len(found):
        fits = [
            name
            for name, known in ORDERS.items()
            if found.ndim == 3 and known.names and found.shape[1] == len(known.names)
        ]
        hint = f"; it may be {fits[0]!r}" if fits and fits[0] != order else ""
        raise ValueError(
            f"{path}: joints in the order {order!r} are (t {len(wanted.names)} 3), found {found.shape}{hint}. A third "
            "number that is a score is no depth: put 0 in its place."
        )
    if np.isinf(found).any():
        raise ValueError(f"{path}: a joint lies at infinity; a gap is NaN (null in JSON, no row in CSV).")
    joints = torch.from_numpy(found.astype(np.float32))
    gaps = joints.isnan()
    return joints.masked_fill(gaps.any(-1, keepdim=True), math.nan)


Found = tuple[np.ndarray, str | None]


def _read_npy(path: Path, order: JointOrder) -> Found:
    return np.load(path, allow_pickle=False), None


def _read_npz(path: Path, order: JointOrder) -> Found:
    with np.load(path, allow_pickle=False) as arrays:
        name = arrays.files[0] if len(arrays.files) == 1 else "joints"
        return arrays[name], str(arrays["order"]) if "order" in arrays.files else None


def _read_json(path: Path, order: JointOrder) -> Found:
    content = json.loads(path.read_text("utf-8"))
    told = content.get("order") if isinstance(content, dict) else None
    frames = content["joints"] if isinstance(content, dict) else content
    return np.array([[_point(joint) for joint in frame] for frame in frames], dtype=np.float64), told


def _point(joint: Any) -> list[float]:
    return [math.nan] * 3 if joint is None else [math.nan if x is None else float(x) for x in joint]


def _read_csv(path: Path, order: JointOrder) -> Found:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = {name: i for i, name in enumerate(order.names)} | {str(i): i for i in range(len(order.names))}
    found = np.full((1 + max((int(row["frame"]) for row in rows), default=-1), len(order.names), 3), math.nan)
    for row in rows:
        if row["joint"] not in numbers or int(row["frame"]) < 0:
            raise ValueError(f"frame {row['frame']}, joint {row['joint']!r}: no such joint in this order.")
        found[int(row["frame"]), numbers[row["joint"]]] = [float(row[axis] or "nan") for axis in "xyz"]
    return found, None


_READERS = {".npy": _read_npy, ".npz": _read_npz, ".json": _read_json, ".csv": _read_csv}
