"""Files of joints that are clips themselves: listed, read without a video, checked before the work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from episodes.clips import Streams
from episodes.dataset import leave_out_broken
from episodes.features import store_key
from episodes.frames import SegmentCentre
from episodes.parts import ClipOptions
from episodes.splits import Folder, Split
from episodes.video import VideoError
from fsar.encoders import ClipEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of two clips, of 6 and 7 frames."""
    dice = np.random.default_rng(0)
    for name in ("sit", "stand", "wave"):
        (tmp_path / "joints" / name).mkdir(parents=True)
        for clip, frames in (("a", 6), ("b", 7)):
            np.savez(tmp_path / "joints" / name / f"{clip}.npz", joints=dice.normal(size=(frames, 17, 3)))
        (tmp_path / "joints" / name / "notes.txt").write_text("none")
    return tmp_path / "joints"


def load(folder: Path) -> Split:
    return Folder(folder, train=["sit"], val=["wave"], test=["stand"], clips="joints").load().train


def test_a_folder_of_joints_is_read_without_videos(folder: Path) -> None:
    split = load(folder)
    assert split.paths == ("sit/a.npz", "sit/b.npz")
    clips = ClipOptions(3, 6, joints_order="coco").read(split, False, 0)
    found = clips.clip(1)
    chosen = SegmentCentre()(7, 3, np.random.default_rng(0), 0.0)
    expected = torch.from_numpy(np.load(folder / "sit" / "b.npz")["joints"][chosen]).float()
    assert list(found) == ["joints"]
    torch.testing.assert_close(found["joints"], expected)
    before = store_key(clips, "e")
    np.savez(folder / "sit" / "b.npz", joints=np.zeros((7, 17, 3)))
    assert store_key(clips, "e") != before


def test_what_does_not_fit_is_told_before_the_work(folder: Path) -> None:
    split = load(folder)
    assert leave_out_broken(split, order="coco")[1] == {}
    with pytest.raises(
        VideoError, match=r"2 of the 2 videos[\s\S]*sit/a\.npz: joints in the order 'ntu'.*may be 'coco'"
    ):
        leave_out_broken(split, order="ntu")
    (folder / "sit" / "b.npz").write_bytes(b"torn")
    with pytest.warns(UserWarning, match=r"sit/b\.npz: no joints can be read"):
        assert leave_out_broken(split, skip=True, order="coco")[0].paths == ("sit/a.npz",)


def test_what_needs_videos_refuses_joints(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.sound_rate: clips of split train are files of joints"):
        ClipOptions(3, 6, joints_order="coco", sound_rate=8000).read(load(folder), False, 0)
    with pytest.raises(ValueError, match=r"data\.joints: clips of split train are files of joints"):
        ClipOptions(3, 6, joints_order="coco", joints=str(folder)).read(load(folder), False, 0)
    with pytest.raises(ValueError, match=r"reads frames, but the clips are joints alone: take .*SkeletonViews"):
        ClipEncoder("fsar-tiny", "shapes").features(Streams(joints=torch.zeros(2, 3, 17, 3)))
    with pytest.raises(ValueError, match="clips is videos or joints, found 'bones'"):
        Folder(folder, seed=0, clips="bones")  # type: ignore[arg-type]
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty has no clips: expected files that end in \.npz"):
        Folder(folder, train=["sit"], val=[], test=["empty"], clips="joints").load()
