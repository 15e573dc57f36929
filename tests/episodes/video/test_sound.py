"""The sound of a video: at its times, at any rate, and NaN where there is none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from episodes.datamodule import is_silent
from episodes.shapes import sounding
from episodes.shapes.source import write_video
from episodes.splits import Split
from episodes.video import VideoError
from episodes.video.sound import Sound, has_track, put, read_sound

RATE = sounding.RATE


def chirp(seconds: float) -> npt.NDArray[np.float32]:
    t = np.arange(round(RATE * seconds)) / RATE
    return (0.5 * np.sin(2 * math.pi * (200 + 200 * t) * t)).astype(np.float32)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with a tone that rises, so that every moment sounds different."""
    path = tmp_path_factory.mktemp("sound") / "a.mp4"
    write_video(path, np.zeros((24, 32, 32, 3), np.uint8), sound=chirp(2.0))
    return path


def alike(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_samples_stand_at_their_times(video: Path) -> None:
    whole = read_sound(video, RATE, 0.0, 2.0)
    assert whole is not None
    assert whole.shape == (2 * RATE,)
    assert alike(whole, chirp(2.0)) > 0.999
    part = read_sound(video, RATE // 2, 0.5, 1.25)
    assert part is not None
    assert alike(part, chirp(2.0)[RATE // 2 : RATE * 5 // 4 : 2]) > 0.999


def test_a_clip_has_the_middle_of_its_part_and_silence_beyond_the_end(video: Path) -> None:
    middle = Sound(RATE, 1.0).read(video, 0.0, 2.0)
    assert alike(middle, chirp(2.0)[RATE // 2 : RATE * 3 // 2]) > 0.999
    long = Sound(RATE, 3.0).read(video, 1.0, 2.0)
    assert len(long) == 3 * RATE
    assert alike(long[:RATE], chirp(2.0)[RATE:]) > 0.99
    assert not long[RATE + 1024 :].any()


def test_a_video_without_a_track_and_a_folder_of_images_say_so(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8))
    for path in (tmp_path / "a.mp4", tmp_path):
        assert read_sound(path, RATE, 0.0, 1.0) is None
        assert np.isnan(Sound(8000, 0.5).read(path, 0.0, 1.0)).all()


def test_a_split_is_silent_where_no_video_has_a_track(video: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8))
    split = Split("train", ("one", "two"), ("one/a.mp4", "two/a.mp4"), (0, 1), tmp_path)
    assert is_silent(split)
    (tmp_path / "two" / "a.mp4").write_bytes(video.read_bytes())
    assert not is_silent(split)
    assert [has_track(split.path(i)) for i in range(2)] == [False, True]
    assert not has_track(tmp_path)


def test_what_cannot_be_heard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0" * 100)
    with pytest.raises(VideoError, match=r"a\.mp4"):
        read_sound(tmp_path / "a.mp4", RATE, 0.0, 1.0)
    for rate, seconds in ((1, 1.0), (16000, 0.0), (16000, math.nan)):
        with pytest.raises(ValueError, match=r"data\.sound_rate is in samples a second"):
            Sound(rate, seconds)


def test_parts_that_lie_outside_are_cut() -> None:
    samples, part = np.zeros(4, np.float32), np.arange(1, 4, dtype=np.float32)
    assert put(samples, part, -2) == 1
    assert samples.tolist() == [3, 0, 0, 0]
    assert put(samples, part, 3) == 6
    assert samples.tolist() == [3, 0, 0, 1]


def test_twins_look_alike_and_sound_different_and_voices_of_the_test_are_new() -> None:
    for split, names in sounding.CLASSES.items():
        assert len(set(names)) == len(names)
        looks = [name.rpartition(", ")[0] for name in names]
        assert looks[::2] == looks[1::2]
        assert len(set(looks)) == len(looks) // 2
        voices = [name.rpartition(", ")[2] for name in names]
        assert all(a != b for a, b in zip(voices[::2], voices[1::2], strict=True))
        if split != "train":
            assert not set(voices) & {name.rpartition(", ")[2] for name in sounding.CLASSES["train"]}
    first, twin = sounding.CLASSES["test"][:2]
    assert np.array_equal(sounding.render(first, 3), sounding.render(twin, 3))
    found = [sounding.sound(first, 0.1, key) for key in range(300)]
    assert sum(x is None for x in found) / 300 == pytest.approx(0.3, abs=0.08)
    assert all(np.abs(x).max() <= 1 for x in found if x is not None)
