"""Clips that lie there twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from episodes.listing import find_equal, find_pairs
from episodes.splits import Folder, support_split


def noise(seed: int) -> np.ndarray:
    """``(t h w c)``"""
    small = np.random.default_rng(seed).integers(0, 255, (8, 16, 16, 3), dtype=np.uint8)
    return small.repeat(4, axis=1).repeat(4, axis=2)


def square(start: int) -> np.ndarray:
    """A square that moves before one background: two of them differ in little."""
    frames = np.full((8, 64, 64, 3), 90, np.uint8)
    for number in range(8):
        place = 5 * number
        frames[number, place : place + 16, 20 * start : 20 * start + 16] = 250
    return frames


def write(path: Path, frames: np.ndarray, codec: str = "mpeg4", size: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(size, size)))
        container.mux(stream.encode())
    return path


def extract(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.jpg")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, name in enumerate(("walk", "run", "swim")):
        for clip in range(2):
            write(tmp_path / name / f"{clip}.mp4", noise(10 * label + clip))
    return tmp_path


def folder(root: Path, **options: object) -> Folder:
    return Folder(root, ["walk"], ["run"], ["swim"], **options)  # type: ignore[arg-type]


def test_different_clips_are_no_pair(root: Path) -> None:
    benchmark = folder(root).load()
    assert benchmark.notes == ()
    assert benchmark.facts == {"files_left_out": {}, "clips_twice": {}}


@pytest.mark.parametrize("make", [noise, square])
def test_a_video_beside_its_frames_or_in_another_coding_is_refused(root: Path, make: object) -> None:
    frames = [make(seed) for seed in range(2)]  # type: ignore[operator]
    write(root / "walk" / "0.mp4", frames[0])
    extract(root / "walk" / "0", frames[0][::2])
    with pytest.raises(ValueError, match=r"walk/0 and walk/0.mp4 show the same.*data.benchmark.twice to drop"):
        folder(root).load()
    with pytest.raises(ValueError, match=r"walk/0 and walk/0.mp4 show the same.*Delete one of each"):
        support_split(root)
    shutil.rmtree(root / "walk" / "0")
    write(root / "walk" / "0.avi", frames[0], size=48)
    with pytest.raises(ValueError, match=r"walk/0.avi and walk/0.mp4 show the same"):
        folder(root).load()
    write(root / "walk" / "0.avi", frames[1])
    assert folder(root).load().notes == ("taken for different clips: walk/0.avi and walk/0.mp4 have one name",)


@pytest.mark.parametrize("name", ["0_frames", "frames_0", "0-rgb", "0_copy.avi", "0 - Copy (2).avi", "0.mp4.avi"])
def test_names_that_say_copy_or_frames_of_another(root: Path, name: str) -> None:
    make = write if name.endswith(".avi") else extract
    make(root / "walk" / name, noise(0))
    with pytest.raises(ValueError, match=r"walk/0.mp4.*show the same|walk/0.mp4 show the same"):
        folder(root).load()
    shutil.rmtree(root / "walk" / name, ignore_errors=True)
    (root / "walk" / name).unlink(missing_ok=True)
    make(root / "walk" / name, noise(7))  # something else under such a name is a clip like any other
    assert folder(root).load().facts["clips_twice"] == {}


def test_an_unreadable_one_of_a_pair_is_left_to_the_reader(root: Path) -> None:
    (root / "walk" / "0.avi").write_bytes(b"nothing")
    assert "have one name" in folder(root).load().notes[0]


def test_a_copy_in_one_class_is_told_and_recorded(root: Path) -> None:
    shutil.copy(root / "walk" / "0.mp4", root / "walk" / "copy.mp4")
    os.link(root / "swim" / "0.mp4", root / "swim" / "z.mp4")
    benchmark = folder(root).load()
    assert len(benchmark.train) == 3
    assert benchmark.facts["clips_twice"] == {"walk/copy.mp4": "walk/0.mp4", "swim/z.mp4": "swim/0.mp4"}
    assert "2 clips are there twice" in benchmark.notes[0]
    assert "walk/0.mp4 and walk/copy.mp4 have the same content" in benchmark.notes[0]
    dropped = folder(root, twice="drop").load()
    assert dropped.train.paths == ("walk/0.mp4", "walk/1.mp4")
    assert dropped.test.paths == ("swim/0.mp4", "swim/1.mp4")
    assert "left out: 2 clips" in dropped.notes[0]


@pytest.mark.parametrize("how", ["copy", "link", "frames"])
def test_a_copy_in_another_class_is_refused_and_in_another_split_told(root: Path, how: str) -> None:
    if how == "frames":
        shutil.copytree(extract(root / "walk" / "x", noise(99)), root / "swim" / "2")
        pair = ("walk/x", "swim/2")
    else:
        (shutil.copy if how == "copy" else os.symlink)(root / "walk" / "0.mp4", root / "swim" / "2.mp4")
        pair = ("walk/0.mp4", "swim/2.mp4")
    with pytest.raises(ValueError, match=" and ".join(pair) + " have the same content"):
        Folder(root, ["walk", "swim"], ["run"], []).load()
    told = folder(root).load()
    assert told.facts["clips_twice"] == {pair[1]: pair[0]}
    assert told.notes[0].startswith("1 clip is there twice, in two splits, so that what is tested is no longer new: ")
    assert " and ".join(pair) in told.notes[0]
    with pytest.raises(ValueError, match="have the same content"):
        support_split(root)
    kept, dropped = folder(root, twice="keep").load(), folder(root, twice="drop").load()
    assert pair[0] in kept.train.paths
    assert pair[1] in kept.test.paths
    assert pair[0] not in dropped.train.paths
    assert pair[1] not in dropped.test.paths
    assert len(dropped.test) == 2


def test_files_that_differ_in_one_place_are_not_equal(tmp_path: Path) -> None:
    contents = [bytes(10**6) for _ in range(3)]
    contents[1] = contents[1][:-1] + b"1"
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    paths = [tmp_path / str(number) for number in range(3)]
    assert find_equal(paths) == [[0, 2]]
    assert find_pairs([*paths, tmp_path / "missing.mp4"]) == [(0, 2, "same")]
