"""Every failure is a VideoError that names file and cause."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from episodes.video import (
    VideoError,
    decord_exact,
    probe,
    read_clip,
    read_frames,
    verify,
)


def test_failures_name_file_and_cause(broken: dict[Path, str]) -> None:
    for path, cause in broken.items():
        for act in (probe, verify, decord_exact, lambda p: read_frames(p, [0]), lambda p: read_frames(p, [0], "pyav")):
            if path.is_dir() and act is decord_exact:
                continue
            with pytest.raises(VideoError, match=cause) as caught:
                act(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert caught.value.path == str(path)


@pytest.mark.parametrize("name", ["vp9.webm", "mpeg4_b.avi", "h264_b.mkv"])
def test_truncated(clips: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    data = clips(name).read_bytes()
    for share in (0.3, 0.6, 0.95):
        path = tmp_path / f"{share}_{name}"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(VideoError, match="truncated"):
            probe(path)


@pytest.mark.parametrize("name", ["h264_b.mp4", "hevc.mp4", "mpeg4_b.avi", "vp9.webm", "av1.mp4", "gif.gif"])
def test_damage(clips: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """Bytes overwritten at random: a VideoError, or the same from both readers; nothing else is ever raised.

    Damage inside entropy-coded pixels need not be noticeable, so the pictures themselves are not judged.
    """
    data, generator = clips(name).read_bytes(), np.random.default_rng(0)
    raised = 0
    for round in range(16):
        damaged, path = bytearray(data), tmp_path / f"{round}_{name}"
        at = int(generator.integers(len(data)))
        damaged[at : at + 40] = generator.bytes(len(damaged[at : at + 40]))
        path.write_bytes(damaged)
        try:
            frames = verify(path).frames
        except VideoError:
            raised += 1
            continue
        np.testing.assert_array_equal(read_frames(path, range(frames)), read_frames(path, range(frames), "pyav"))
    assert raised > 0 or name == "gif.gif"


def test_error_survives_processes() -> None:
    error = VideoError("a/b.mp4", "broken")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.path, again.cause, str(again)) == (VideoError, "a/b.mp4", "broken", "a/b.mp4: broken")
    assert isinstance(error, ValueError)


def test_error_survives_a_data_loader() -> None:
    from torch._utils import ExceptionWrapper  # what a worker process sends, and how the loader raises it anew

    try:
        read_frames("nowhere.mp4", [0])
    except VideoError:
        sent = pickle.loads(pickle.dumps(ExceptionWrapper()))
    with pytest.raises(VideoError, match=r"nowhere\.mp4: no such file"):
        sent.reraise()


def _torture(shared: Path) -> list[dict[str, str]]:
    with (shared / "videos" / "torture" / "torture.csv").open() as file:
        return list(csv.DictReader(file))


def test_torture(shared: Path) -> None:
    """Every odd file reads as many frames as its table says, or raises a VideoError."""
    refused = {"decord_corrupted.mp4", "moz_no_timescale.mp4"}  # some frames decode, then it breaks
    for row in _torture(shared):
        path = shared / "videos" / "torture" / row["file"]
        frames = int(row["frames_decodable_pyav"] or 0)
        if frames and row["file"] not in refused:
            assert probe(path).frames == frames, row["file"]
            everything = read_frames(path, range(frames), "pyav")
            np.testing.assert_array_equal(read_frames(path, range(frames)), everything)
            indices = np.random.default_rng(frames).integers(0, frames, 8)
            np.testing.assert_array_equal(read_clip(path, lambda n, fps, i=indices: i), everything[indices])
        else:
            for act in (
                verify,
                lambda p: read_frames(p, [40]),
                lambda p: read_clip(p, lambda n, fps: [n // 2], "pyav"),
            ):
                with pytest.raises(VideoError, match=row["file"]):
                    act(path)
