"""The tool that looks for unreadable videos."""

from __future__ import annotations

import csv
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from PIL import Image

from episodes.splits import Folder
from episodes.video import ClipCheck, VideoInfo
from fsar.commands.data.check_videos import tell_place

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def tool() -> ModuleType:
    return importlib.import_module("fsar.commands.data.check_videos")


def _video(path: Path, frames: int, pixels: np.ndarray | None = None, codec: str = "libx264") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.stack([np.full((32, 48, 3), 10 * number, dtype=np.uint8) for number in range(frames)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[1:3], "yuv420p"
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _images(folder: Path, start: int = 0) -> None:
    folder.mkdir(parents=True)
    for number in range(9):
        Image.new("RGB", (48, 32), (start + number,) * 3).save(folder / f"img_{number:05d}.jpg")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "clips"
    _video(root / "jump" / "one.mp4", 12)
    _video(root / "jump" / "short.mp4", 3)
    (root / "run").mkdir()
    (root / "run" / "empty.avi").touch()
    (root / "run" / "notes.txt").write_text("not a clip")
    _images(root / "run" / "images")
    return root


def _lines(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {Path(line["path"]).name: line for line in csv.DictReader(file)}


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_report(
    tool: ModuleType, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: list[str]
) -> None:
    report = tmp_path / "report.csv"
    assert tool.main([str(dataset), "--report", str(report), "--workers", "1", *quick]) == 1
    lines = _lines(report)
    assert set(lines) == {"one.mp4", "short.mp4", "empty.avi", "images"}
    assert lines["one.mp4"]["frames"] == "12"
    assert (lines["one.mp4"]["height"], lines["one.mp4"]["width"]) == ("32", "48")
    assert (lines["one.mp4"]["short"], lines["one.mp4"]["cause"]) == ("", "")
    assert lines["short.mp4"]["short"] == "short"
    assert "0 bytes" in lines["empty.avi"]["cause"]
    assert lines["images"]["frames"] == "9"
    said = " ".join(capsys.readouterr().out.split())
    assert "jump 2 clips run 2 clips, 1 left out (notes.txt)" in said
    assert "4 of 4 clips checked: 3 readable, 1 unreadable, 1 shorter than 8 frames" in said
    assert "empty.avi" in said


def test_exit_code_zero_and_lists(tool: ModuleType, dataset: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{dataset / 'jump' / 'one.mp4'}\n\n")
    report = tmp_path / "report.csv"
    assert tool.main(["--list", str(listed), "--report", str(report), "--workers", "1"]) == 0
    assert set(_lines(report)) == {"one.mp4"}
    assert tool.main([str(dataset / "nowhere.mp4"), "--report", str(report), "--workers", "1"]) == 1
    assert "no such file" in _lines(report)["nowhere.mp4"]["cause"]


def test_interrupted(tool: ModuleType, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[ClipCheck]:
        yield ClipCheck("a.mp4", VideoInfo(9, 25.0, 32, 48), "")
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, "check_videos", interrupted)
    report = tmp_path / "report.csv"
    assert tool.main([str(dataset), "--report", str(report)]) == 130
    assert set(_lines(report)) == {"a.mp4"}


def test_no_report_unasked(
    tool: ModuleType, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tool.main([str(dataset / "jump"), "--workers", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]
    assert "Report" not in capsys.readouterr().out


def test_every_folder_gets_a_word_and_links_end(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "clips"
    _video(root / "jump" / "one.mp4", 12)
    _images(root / "jump" / "frames")
    (root / "jump" / "cover.jpg").touch()
    (root / "jump" / "up").symlink_to("..")
    (root / "jump" / "self").symlink_to("self")
    (root / "hop").symlink_to("jump")
    _video(root / "train" / "run" / "one.MTS.mp4", 9)
    (root / "train" / "deep").symlink_to(root / "train")
    (root / "notes").mkdir()
    _images(root / "flat", 50)
    (root / "__MACOSX").mkdir()
    report = tmp_path / "report.csv"
    tool.main([str(root), "--workers", "1", "--quick", "--report", str(report)])
    words = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines() if line.strip())
    assert words["hop"] == "2 clips, 3 left out (cover.jpg, self, up)"
    assert words["jump"] == f"refused: a link to {root / 'hop'}"
    assert words["notes"].startswith("refused as a class: expected videos")
    assert words["train"].startswith("refused as a class: its clips lie a level deeper, such as in")
    assert words["train/run"] == "1 clip"
    assert words["train/deep"] == f"refused: a link to {root / 'train'}"
    assert words[str(root)].endswith("as a class flat is refused: it is a clip itself, and holds none")
    assert set(_lines(report)) == {"one.mp4", "one.MTS.mp4", "frames", "flat"}
    for classes, refused in ((["hop"], ["jump"]), (["hop"], ["notes"]), (["hop"], ["train"]), (["hop"], ["flat"])):
        with pytest.raises(ValueError, match=r"one folder, by a link|no clips"):
            Folder(root, classes, [], refused).load()
    assert len(Folder(root, ["hop"], [], []).load().train) == 2


def test_what_is_there_twice(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "clips"
    frames = np.random.default_rng(0).integers(0, 255, (3, 12, 8, 8, 3), dtype=np.uint8).repeat(8, 2).repeat(8, 3)
    first = _video(root / "jump" / "0.mp4", 12, frames[0])
    _video(root / "jump" / "1.mp4", 12, frames[1])
    _video(root / "run" / "2.mp4", 12, frames[2])
    assert tool.main([str(root), "--workers", "1"]) == 0
    assert "0 there twice" in capsys.readouterr().out
    shutil.copy(first, root / "jump" / "9.mp4")
    assert tool.main([str(root), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert f"{first} and {root / 'jump' / '9.mp4'} have the same content, in one class" in said
    (root / "jump" / "9.mp4").unlink()
    shutil.copy(first, root / "run" / "9.mp4")
    assert tool.main([str(root), "--workers", "1"]) == 1
    assert "9.mp4 have the same content, in two classes" in capsys.readouterr().out
    (root / "run" / "9.mp4").unlink()
    _video(root / "run" / "9.avi", 12, frames[0], codec="mpeg4")
    assert tool.main([str(root), "--workers", "1", "--quick"]) == 0
    assert f"{first} and {root / 'run' / '9.avi'} show the same, in two classes" in capsys.readouterr().out
    (root / "run" / "9.avi").rename(root / "jump" / "0.avi")
    assert tool.main([str(root), "--workers", "1"]) == 1
    assert "0.mp4 show the same, in one class" in capsys.readouterr().out


def test_many_copies_are_one_line(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, rng = tmp_path / "clips", np.random.default_rng(0)
    frames = rng.integers(0, 255, (2, 12, 8, 8, 3), dtype=np.uint8).repeat(8, 2).repeat(8, 3)
    first = _video(root / "jump" / "0.mp4", 12, frames[0])
    _video(root / "hop" / "0.mp4", 12, frames[1])
    copies = [root / "jump" / f"{name}.mp4" for name in range(1, 6)]
    for copy in copies:
        shutil.copy(first, copy)
    _video(root / "jump" / "8.avi", 12, frames[0], codec="mpeg4")
    assert tool.main([str(root), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("twice"))
    assert line.endswith("5.mp4 and " + str(root / "jump" / "8.avi") + " show the same, in one class")
    assert all(str(copy) in line for copy in copies)
    assert "6 there twice" in said
    (root / "jump" / "8.avi").unlink()
    for name in ("run", "walk"):
        (root / name).mkdir()
        shutil.copy(first, root / name)
    assert tool.main([str(root), "--workers", "1"]) == 1
    assert f"and {root / 'walk' / '0.mp4'} have the same content, in 3 classes" in capsys.readouterr().out


def test_nothing_to_check(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        tool.main([str(tmp_path)])
    assert caught.value.code == 2


def test_help_of_the_script() -> None:
    command = [sys.executable, "-m", "fsar", "check-videos", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert "--quick" in done.stdout


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("d/a", "d/a", "one class"),
        ("d/a", "d/b", "two classes"),
        ("d/train/a", "d/test/a", "two splits, train and test"),
        ("d/a", "d/stray/b", "two folders, a and stray/b"),
        ("d", "d/stray", "two folders, d and stray"),
    ],
)
def test_where_two_clips_of_one_content_lie(one: str, other: str, said: str) -> None:
    assert tell_place([Path(one), Path(other)]) == said
