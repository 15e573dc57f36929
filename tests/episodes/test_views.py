"""Several views of a clip: which frames and crops they are, on clips whose pixels say where they come from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from episodes.datamodule import EpisodicDataModule
from episodes.dataset import ClipDataset
from episodes.frames import DenseSpan, FrameSampler, SegmentCentre, SegmentRandom, TrimmedLinspace, UniformLinspace
from episodes.splits import Split
from episodes.transforms import ClipTransform
from episodes.views import Views


@pytest.mark.parametrize("sampler", [SegmentCentre(), UniformLinspace(), TrimmedLinspace(), DenseSpan(rate=4)])
@pytest.mark.parametrize("clips", [1, 2, 3, 10])
@pytest.mark.parametrize("frames", [8, 9, 40, 301])
def test_clips_lie_evenly_between_those_of_one(sampler: FrameSampler, clips: int, frames: int) -> None:
    found = np.stack(sampler.several(frames, 8, clips, None, 24.0))
    assert found.shape == (clips, 8)
    assert found.min() >= 0
    assert found.max() < frames
    assert (np.diff(found, axis=0) >= 0).all()  # each is later than the one before it
    assert (np.diff(found, axis=1) >= 0).all()
    if clips == 1:
        assert found[0].tolist() == sampler(frames, 8, None, 24.0).tolist()


def test_clips_of_segments_divide_each_segment() -> None:
    for clip, found in enumerate(SegmentCentre().several(300, 4, 5)):
        assert found.tolist() == [int(75 * (segment + (clip + 0.5) / 5)) for segment in range(4)]


def test_spans_are_windows_of_one_rate_over_the_video() -> None:
    windows = np.stack(DenseSpan(rate=2, target_fps=10.0).several(100, 4, 5, None, 10.0))
    assert (np.diff(windows, axis=1) == 2).all()
    assert windows[:, 0].tolist() == [int((c + 0.5) / 5 * 93) for c in range(5)]
    assert windows[2].tolist() == DenseSpan(rate=2, target_fps=10.0)(100, 4, None, 10.0).tolist()


def test_random_clips_are_drawn_one_after_the_other() -> None:
    first, second = SegmentRandom().several(100, 4, 2, np.random.default_rng(0))
    generator = np.random.default_rng(0)
    assert [x.tolist() for x in (first, second)] == [SegmentRandom()(100, 4, generator).tolist() for _ in range(2)]
    short = SegmentCentre().several(3, 4, 2)
    assert [x.tolist() for x in short] == [[0, 1, 2, 2]] * 2


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """A wide video and a tall one; red is the frame's number, green the column, blue the row."""
    for name, shape in (("wide", (20, 40)), ("tall", (40, 20))):
        (tmp_path / name).mkdir()
        row, column = np.indices(shape)
        for frame in range(12):
            image = np.stack([np.full(shape, 20 * frame), 6 * column, 6 * row], -1).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{frame:03}.png")
    return Split("test", ("a", "b"), ("wide", "tall"), (0, 1), tmp_path)


def test_crops_lie_along_the_longer_side(split: Split) -> None:
    clips = ClipDataset(split, SegmentCentre(), ClipTransform(20, resize_to=20), 2, views=Views(clips=3, crops=3))
    one = ClipDataset(split, SegmentCentre(), ClipTransform(20, resize_to=20), 2)
    for video, channel in ((0, 1), (1, 2)):
        found = clips.clip(video)["frames"]
        assert found.shape == (9, 2, 3, 20, 20)
        assert found[:, :, 0, 0, 0].tolist() == [[20 * f, 20 * (f + 6)] for f in (1, 3, 5) for _ in range(3)]
        ends = found[:3, 0, channel]  # of the first clip: its three crops
        assert [int(crop.min()) for crop in ends] == [0, 60, 120]
        assert {int(crop.min()) for crop in found[:3, 0, 3 - channel]} == {0}
        assert torch.equal(found[4], one.clip(video)["frames"])  # the middle clip's centre is the one view


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_views": Views(crops=3), "test_transform": ClipTransform(20, crop="random")}, "cuts out the centre"),
        ({"test_views": Views(crops=3), "test_transform": ClipTransform(20, "squash", 20)}, "so all three are one"),
        ({"test_views": Views(crops=3), "test_transform": len}, "cuts out the centre"),
        ({"test_views": Views(crops=3), "test_transform": SimpleNamespace(crop="centre")}, "found SimpleNamespace"),
        ({"test_views": Views(crops=3), "test_transform": SimpleNamespace(resize_to=9)}, "found SimpleNamespace"),
        ({"test_views": Views(clips=2), "test_sampler": len}, "has a method several: .* found builtin"),
    ],
)
def test_crops_that_there_are_not_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodicDataModule(**options)


def test_a_sampler_of_ones_own_gives_one_clip() -> None:
    own: Any = lambda frames, t, generator, fps: np.arange(t)  # noqa: E731
    assert EpisodicDataModule(test_views=Views(crops=3), test_sampler=own).test_views is not None
    assert Views(crops=3).choose(own, 9, 4, None, 0.0).tolist() == [0, 1, 2, 3]


def test_what_is_no_number_of_views_is_refused() -> None:
    with pytest.raises(ValueError, match="found clips 0, crops 1"):
        Views(clips=0)
    with pytest.raises(ValueError, match="crops 1 or 3; found clips 1, crops 2"):
        Views(crops=2)
    with pytest.raises(ValueError, match="features or scores, found 'logits'"):
        Views(average="logits")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one view of every clip"):
        EpisodicDataModule(test_views=Views(clips=2), features="store").setup("test")
