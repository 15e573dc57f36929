"""Frames inside one zip file are read as the same frames in folders."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from episodes.benchmarks.disk import find_videos
from episodes.features.identity import difference, identify
from episodes.video import VideoError, probe, read_clip, verify


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def both(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """A folder of clips, and a zip file of it."""
    root = tmp_path / "frames"
    for label, name in enumerate(("run", "walk")):
        for clip in range(2):
            (root / name / f"{name}_{clip}").mkdir(parents=True)
            for frame in range(11):
                value = 100 * label + 40 * clip + frame
                Image.fromarray(np.full((6, 8, 3), value, dtype=np.uint8)).save(
                    root / name / f"{name}_{clip}" / f"{frame}.png"
                )
    with zipfile.ZipFile(tmp_path / "all.zip", "w", request.param) as archive:
        for file in sorted(root.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(tmp_path))
    return root, tmp_path / "all.zip"


def test_clips_are_those_of_the_folders(both: tuple[Path, Path]) -> None:
    root, archive = both
    folder, inside = root / "walk" / "walk_1", archive / "frames" / "walk" / "walk_1"
    assert probe(inside) == probe(folder) == verify(inside)
    order = np.array([10, 2, 2, 0])
    found = read_clip(inside, lambda frames, fps: order % frames)
    assert np.array_equal(found, read_clip(folder, lambda frames, fps: order % frames))
    assert found[:, 0, 0, 0].tolist() == [150, 142, 142, 140]  # by their numbers, not in the archive's order


def test_a_benchmark_finds_them_in_the_file_and_in_a_folder_that_holds_it(both: tuple[Path, Path]) -> None:
    _, archive = both
    assert find_videos(archive, ["run_0", "walk_1"], "hmdb51").paths["run_0"] == "frames/run/run_0"
    (archive.parent / "set").mkdir()
    moved = archive.rename(archive.parent / "set" / "all.zip")
    found = find_videos(moved.parent, ["run_0", "walk_1"], "hmdb51")
    assert found.paths["walk_1"] == "all.zip/frames/walk/walk_1"
    assert found.extra == ("all.zip/frames/run/run_1", "all.zip/frames/walk/walk_0")


def test_a_store_knows_when_they_change(both: tuple[Path, Path]) -> None:
    root, archive = both
    inside = archive / "frames" / "run" / "run_0"
    before = identify(inside)
    assert before is not None
    assert difference(inside, before) is None
    Image.fromarray(np.full((6, 8, 3), 9, dtype=np.uint8)).save(root / "run" / "run_0" / "3.png")
    with zipfile.ZipFile(archive, "w") as anew:
        for file in root.rglob("*.png"):
            anew.write(file, file.relative_to(archive.parent))
    assert difference(inside, before) == "as large as before (11), but with other contents"


def test_what_is_not_there_or_damaged_is_named(both: tuple[Path, Path]) -> None:
    _, archive = both
    with pytest.raises(VideoError, match="walk_9"):
        probe(archive / "frames" / "walk" / "walk_9")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        start = opened.getinfo("frames/run/run_0/4.png").header_offset
    content[start + 70] ^= 255
    archive.write_bytes(content)
    with pytest.raises(VideoError, match=r"4\.png cannot be read"):
        verify(archive / "frames" / "run" / "run_0")
    archive.write_bytes(b"nothing")
    with pytest.raises(VideoError, match="no zip file, or a damaged one"):
        probe(archive / "frames" / "run" / "run_0")
