"""How a clip is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import burnt
import pytest
from PIL import Image

from episodes.video import (
    VideoError,
    VideoInfo,
    probe,
    pyav,
    read_clip,
    read_frames,
    verify,
)


def test_read_clip_tells_and_obeys(clips: Callable[[str], Path]) -> None:
    told: list[tuple[int, float]] = []

    def choose(frames: int, fps: float) -> list[int]:
        told.append((frames, fps))
        return [7, 3, 7]

    for name in ("h264_b.mp4", "mpeg4_b.avi", "gif.gif"):
        for reader in ("auto", "pyav"):
            assert burnt.numbers_in(read_clip(clips(name), choose, reader)) == [7, 3, 7]
            info = probe(clips(name))
            assert burnt.numbers_in(read_clip(clips(name), choose, reader, info)) == [7, 3, 7]
    assert told == [(burnt.N, 25.0)] * len(told)


@pytest.mark.parametrize("name", ["h264_b.mp4", "mpeg4_b.avi"])
@pytest.mark.parametrize("memory", [0, 1000, 200_000])
def test_videos_too_large_to_hold(
    clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str, memory: int
) -> None:
    monkeypatch.setattr(pyav, "MEMORY", memory)
    assert probe(clips(name)).frames == burnt.N
    assert burnt.numbers_in(read_clip(clips(name), lambda frames, fps: [frames - 1, 0, 20])) == [burnt.N - 1, 0, 20]
    assert burnt.numbers_in(read_frames(clips(name), [30, 5])) == [30, 5]


@pytest.mark.parametrize("reader", ["auto", "pyav", "decord"])
@pytest.mark.parametrize("name", ["h264_b.mp4", "mpeg4_b.avi"])
def test_indices_out_of_range(clips: Callable[[str], Path], name: str, reader: Any) -> None:
    if reader == "decord":
        pytest.importorskip("decord", reason="decord has no wheel for this machine")
    for indices in ([0, burnt.N], [-1], [1000]):
        with pytest.raises(VideoError, match=rf"{name}.*frame {indices[-1]} was asked for"):
            read_frames(clips(name), indices, reader)
    for indices in ([], [[0, 1]], [0.5]):
        with pytest.raises(VideoError, match="non-empty list of integers"):
            read_frames(clips(name), indices, reader)


def test_what_the_caller_refuses_names_the_file(clips: Callable[[str], Path]) -> None:
    def refuse(frames: int, fps: float) -> list[int]:
        raise ValueError(f"{frames} frames are too few")

    with pytest.raises(VideoError, match=r"h264\.mp4: 48 frames are too few"):
        read_clip(clips("h264.mp4"), refuse)


def test_unknown_reader(clips: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="reader must be one of auto, pyav, decord, torchcodec; found 'opencv'"):
        read_frames(clips("h264.mp4"), [0], "opencv")  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["{:05d}.png", "img_{:05d}.png", "frame_{:06d}.png", "shot2_{}.png"])
def test_folder_of_images(tmp_path: Path, pattern: str) -> None:
    for number in range(12):
        Image.fromarray(burnt.burn(number)).save(tmp_path / pattern.format(number + 1))
    (tmp_path / "notes.txt").write_text("not an image")
    assert probe(tmp_path) == VideoInfo(12, 0.0, burnt.HEIGHT, burnt.WIDTH)
    assert verify(tmp_path) == probe(tmp_path)
    assert burnt.numbers_in(read_frames(tmp_path, [11, 0, 5, 5])) == [11, 0, 5, 5]
    assert burnt.numbers_in(read_clip(tmp_path, lambda frames, fps: [frames - 1], "decord")) == [11]
    with pytest.raises(VideoError, match="frame 12 was asked for"):
        read_frames(tmp_path, [12])
    broken = tmp_path / pattern.format(3)
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(VideoError, match="cannot be read"):
        read_frames(tmp_path, [2])
    with pytest.raises(VideoError, match="cannot be read"):
        verify(tmp_path)


def test_folder_of_images_that_is_not_one_video(tmp_path: Path) -> None:
    for name, side in (("x_1.png", 16), ("x_2.png", 32)):
        Image.new("RGB", (side, 16)).save(tmp_path / name)
    with pytest.raises(VideoError, match="differ in size"):
        read_frames(tmp_path, [0, 1])
    Image.new("L", (16, 16)).save(tmp_path / "x_01.png")
    with pytest.raises(VideoError, match=r"the same number, x_01\.png and x_1\.png"):
        probe(tmp_path)
    for file, letter in zip(sorted(tmp_path.iterdir()), "abc", strict=True):
        file.rename(file.with_stem(letter))
    assert probe(tmp_path).frames == 3  # by name
