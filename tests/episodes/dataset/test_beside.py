"""Boxes and joints in files beside the videos: which file, which frames, what a store's key says, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from episodes.annotations.captions import read_captions
from episodes.dataset import ClipDataset, Joints, Regions
from episodes.features import store_key
from episodes.frames import SegmentCentre
from episodes.parts import ClipOptions
from episodes.splits import Split
from episodes.transforms import ClipTransform
from episodes.video import VideoError


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """A black video of six frames, 8 x 6 pixels."""
    (tmp_path / "videos" / "sit" / "a").mkdir(parents=True)
    (tmp_path / "beside" / "sit").mkdir(parents=True)
    for frame in range(6):
        black = Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8))
        black.save(tmp_path / "videos" / "sit" / "a" / f"{frame}.png")
    return Split("train", ("sit",), ("sit/a",), (0,), tmp_path / "videos")


def clips(split: Split, **beside: object) -> ClipDataset:
    transform = ClipTransform(6, resize_to=6)
    return ClipDataset(split, SegmentCentre(), transform, 3, **beside)  # type: ignore[arg-type]


def test_boxes_of_the_chosen_frames_are_tinted_before_the_crop(split: Split, tmp_path: Path) -> None:
    file = tmp_path / "beside" / "sit" / "a.json"
    chosen = SegmentCentre()(6, 3, np.random.default_rng(0), 1.0)
    boxes: list[object] = [[None]] * 6
    boxes[chosen[1]] = [[1, 0, 3, 6]]
    file.write_text(json.dumps(boxes))
    options = ClipOptions(3, 6, test_transform=ClipTransform(6, resize_to=6), regions=str(tmp_path / "beside"))
    found = options.read(split, False, 0).clip(0)["frames"]
    assert [int(frame.amax()) > 0 for frame in found] == [False, True, False]
    assert found[1, 0].amax(0).bool().tolist() == [True, True, False, False, False, False]  # the crop takes one column
    file.write_text(json.dumps([1, 0, 3, 6]))
    assert all(int(frame.amax()) for frame in options.read(split, False, 0).clip(0)["frames"])


def test_joints_of_the_chosen_frames_are_a_stream(split: Split, tmp_path: Path) -> None:
    joints = np.arange(6 * 17 * 3, dtype=np.float32).reshape(6, 17, 3)
    np.savez(tmp_path / "beside" / "sit" / "a.npz", joints=joints)
    found = clips(split, joints=Joints(str(tmp_path / "beside"), "coco")).clip(0)
    chosen = SegmentCentre()(6, 3, np.random.default_rng(0), 1.0)
    torch.testing.assert_close(found["joints"], torch.from_numpy(joints[chosen]))
    assert found["frames"].shape == (3, 3, 6, 6)
    with pytest.raises(ValueError, match="mirrors frames"):
        ClipDataset(split, SegmentCentre(), ClipTransform(6, resize_to=6, flip=True), 3, joints=Joints(".", "coco"))


def test_the_key_of_a_store_knows_colour_and_contents(split: Split, tmp_path: Path) -> None:
    file, root = tmp_path / "beside" / "sit" / "a.json", str(tmp_path / "beside")
    file.write_text("[1, 0, 3, 6]")
    plain, red = store_key(clips(split), "e"), store_key(clips(split, regions=Regions(root)), "e")
    green = store_key(clips(split, regions=Regions(root, "green")), "e")
    file.write_text("[1, 0, 4, 6]")
    moved = store_key(clips(split, regions=Regions(root)), "e")
    assert "regions" not in plain
    assert len({json.dumps(key, sort_keys=True) for key in (plain, red, green, moved)}) == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 0, 9, 6]", r"a\.json: box .* does not lie in a frame of 8 x 6 pixels"),
        ("[[[1, 0, 3, 6]], [[1, 0, 3, 6]]]", r"a\.json: boxes of 2 frames for a video of 6"),
        ('{"a": 1}', r"a\.json: no boxes can be read"),
        ("", r"a\.json: no boxes can be read"),
        (None, r"a\.json is not there: data\.regions needs a file"),
    ],
)
def test_boxes_that_do_not_fit_are_named(split: Split, tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "beside" / "sit" / "a.json").write_text(content)
    with pytest.raises(VideoError, match=said):
        clips(split, regions=Regions(str(tmp_path / "beside"))).clip(0)


def test_captions_are_a_stream_of_training_clips_alone(split: Split, tmp_path: Path) -> None:
    file = tmp_path / "beside" / "sit" / "a.txt"
    file.write_text("a man sits down\n\n ein Mann läuft \nunread\n", encoding="utf-8")
    square = ClipTransform(6, resize_to=6)
    options = ClipOptions(3, 6, None, None, square, square, captions=str(tmp_path / "beside"), captions_per_clip=2)
    found = options.read(split, True, 0).clip(0)["captions"]
    assert found.dtype == torch.uint8
    assert read_captions(found) == ["a man sits down", "ein Mann läuft"]
    assert "captions" not in options.read(split, False, 0).clip(0)
    file.write_text("one alone")
    with pytest.raises(VideoError, match=r"a\.txt: data\.captions_per_clip asks for 2, one a line; found 1"):
        options.read(split, True, 0).clip(0)
    file.write_text("one\n" + "x" * 513)
    with pytest.raises(VideoError, match=r"a\.txt: the caption 'x+'\.\.\. has 513 bytes, 512 at most"):
        options.read(split, True, 0).clip(0)
    file.unlink()
    with pytest.raises(VideoError, match=r"data\.captions needs a file \(\.txt\)"):
        options.read(split, True, 0).clip(0)
