"""The tool that looks for unreadable videos."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from PIL import Image

from episodes.video import ClipCheck, VideoInfo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_videos_tool", ROOT / "tools" / "check_videos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _video(path: Path, frames: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(frames):
            image = np.full((32, 48, 3), 10 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "clips"
    _video(root / "jump" / "one.mp4", 12)
    _video(root / "jump" / "short.mp4", 3)
    (root / "run").mkdir()
    (root / "run" / "empty.avi").touch()
    (root / "run" / "notes.txt").write_text("not a clip")
    (root / "run" / "images").mkdir()
    for number in range(9):
        Image.new("RGB", (48, 32)).save(root / "run" / "images" / f"img_{number:05d}.jpg")
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
    def interrupted(*_: object) -> Iterator[ClipCheck]:
        yield ClipCheck("a.mp4", VideoInfo(9, 25.0, 32, 48), "")
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, "check_videos", interrupted)
    report = tmp_path / "report.csv"
    assert tool.main([str(dataset), "--report", str(report)]) == 130
    assert set(_lines(report)) == {"a.mp4"}


def test_nothing_to_check(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        tool.main([str(tmp_path)])
    assert caught.value.code == 2


def test_help_of_the_script() -> None:
    command = [sys.executable, str(ROOT / "tools" / "check_videos.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert "--quick" in done.stdout
