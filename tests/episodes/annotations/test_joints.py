"""Joints from files of four kinds: gaps, orders, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from episodes.annotations.joints import ORDERS, read_joints


@pytest.fixture
def joints() -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(3, 17, 3)).astype(np.float32)
    found[1, 4] = np.nan
    return found


def write(folder: Path, kind: str, joints: np.ndarray) -> Path:
    path = folder / f"clip.{kind}"
    if kind == "npy":
        np.save(path, joints)
    elif kind == "npz":
        np.savez(path, joints=joints, order="coco")
    elif kind == "json":
        lists = [[None if np.isnan(joint).any() else joint.tolist() for joint in frame] for frame in joints]
        path.write_text(json.dumps({"joints": lists, "order": "coco"}))
    else:
        rows = [
            f"{t},{name},{','.join(map(str, joints[t, j].tolist()))}"
            for t in range(len(joints))
            for j, name in enumerate(ORDERS["coco"].names)
            if not np.isnan(joints[t, j]).any()
        ]
        path.write_text("\n".join(["frame,joint,x,y,z", *rows]))
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "json", "csv"])
def test_every_kind_of_file_gives_the_same_joints(kind: str, joints: np.ndarray, tmp_path: Path) -> None:
    found = read_joints(write(tmp_path, kind, joints), "coco")
    torch.testing.assert_close(found, torch.from_numpy(joints), equal_nan=True)
    assert found.isnan().sum() == 3


def test_orders_are_whole() -> None:
    assert {name: len(order.names) for name, order in ORDERS.items()} == {"ntu": 25, "coco": 17, "hand": 21}
    hand = ORDERS["hand"]
    assert [hand.names[i] for i in (0, 4, 8, 12, 16, 20)] == [
        "wrist",
        "thumb tip",
        *(f"{finger} tip" for finger in ("index finger", "middle finger", "ring finger", "pinky")),
    ]
    assert len(hand.bones) == 21  # as MediaPipe draws them: four a finger or to it, and the palm is closed
    for order in ORDERS.values():
        assert len(set(order.names)) == len(order.names)
        assert {end for bone in order.bones for end in bone} == set(range(len(order.names)))


def test_what_is_no_file_of_joints_is_refused(joints: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'ntu' are \(t 25 3\), found \(3, 17, 3\); it may be 'coco'"):
        read_joints(write(tmp_path, "npy", joints), "ntu")
    with pytest.raises(ValueError, match="in the order 'coco', but 'ntu' is asked for"):
        read_joints(write(tmp_path, "npz", joints), "ntu")
    with pytest.raises(ValueError, match="a score is no depth"):
        read_joints(write(tmp_path, "npy", joints[..., :2]), "coco")
    with pytest.raises(ValueError, match="no order 'openpose'"):
        read_joints(tmp_path / "clip.npy", "openpose")
    (tmp_path / "a.csv").write_text("frame,joint,x,y,z\n0,tail,1,2,3")
    with pytest.raises(ValueError, match=r"a\.csv: .* joint 'tail': no such joint"):
        read_joints(tmp_path / "a.csv", "coco")
    with pytest.raises(ValueError, match="it must end in"):
        read_joints(tmp_path / "a.mp4", "coco")
    with pytest.raises(ValueError, match="No such file"):
        read_joints(tmp_path / "b.npy", "coco")
    with pytest.raises(ValueError, match="lies at infinity"):
        read_joints(write(tmp_path, "npy", np.where(joints > 1, np.inf, joints)), "coco")
