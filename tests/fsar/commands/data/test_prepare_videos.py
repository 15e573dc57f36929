"""The tool that turns videos into what trains fast; its engine is tested in tests/episodes/prepare."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from episodes.benchmarks import Lists, definition, write_lists
from episodes.files.locks import held_alone
from episodes.video import packed, probe

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("fsar.commands.data.prepare_videos")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three clips of 20 frames."""
    for name in ("1", "2", "3"):
        path = tmp_path / "root" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
            for number in range(20):
                image = np.full((32, 48, 3), 10 * number, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    return tmp_path / "root"


def test_a_data_set_is_prepared(
    tool: ModuleType, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = ["--root", str(root), "--out", str(out), "--form", "h264", "--short-side", "16", "--workers", "1"]
    assert tool.main(args) == 0
    assert f"3 of 3 videos are in {out}: 3 made now, 0 there before\n" in capsys.readouterr().out
    (out / "2.mp4").unlink()
    assert tool.main(args) == 0
    assert f"3 of 3 videos are in {out}: 1 made now, 2 there before\n" in capsys.readouterr().out
    info = probe(out / "2.mp4")
    assert (info.frames, info.height, info.width) == (20, 16, 24)


def test_only_the_videos_of_a_benchmark(tool: ModuleType, root: Path, tmp_path: Path) -> None:
    known = definition("ssv2_small")
    videos = {s: tuple((label, f"{s}{label}") for label in range(len(known.classes[s]))) for s in known.classes}
    lists = Lists(known, known.classes, {**videos, "test": ((0, "3"), *videos["test"][1:])})
    write_lists(lists, tmp_path / "ssv2_small.csv")
    args = ["--root", str(root), "--out", str(tmp_path / "o.pack"), "--form", "pack", "--workers", "1"]
    args += ["--benchmark", "ssv2_small", "--lists", str(tmp_path)]
    assert tool.main(args) == 2  # not the published lists
    assert tool.main([*args, "--allow-changed"]) == 0
    assert packed.clips(tmp_path / "o.pack") == ["3"]
    assert packed.inspect(tmp_path / "o.pack" / "3").frames == 20  # it has no 24


def test_broken_videos_are_reported(
    tool: ModuleType, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "2.mp4").write_text("no video")
    assert tool.main(["--root", str(root), "--out", str(tmp_path / "o"), "--form", "jpeg", "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "2 of 3 videos are in" in printed.out
    assert "left out: 2.mp4: " in printed.err


def test_the_table_of_costs(tool: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--root", str(root), "--measure", "2", "--frames", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 of 3 videos")
    assert [line[:18].strip() for line in lines[2:]] == [
        "as it is",
        "h264, 12 frames",
        "jpeg, 12 frames",
        "pack, 12 frames",
    ]


@pytest.mark.parametrize("form", ["pack", "h264", "jpeg"])
def test_two_processes_make_what_one_makes(tool: ModuleType, root: Path, tmp_path: Path, form: str) -> None:
    out, alone = (tmp_path / f"{name}.pack" if form == "pack" else tmp_path / name for name in ("two", "one"))
    args = ["--root", str(root), "--form", form, "--workers", "1"]
    command = [sys.executable, "-m", "fsar", "prepare-videos", *args, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with held_alone(out):  # so that both are there before either begins
        pair = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        waiting = [process.stderr.readline() for process in pair if process.stderr]
    said = [process.communicate(timeout=300) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert all(f"{out} is being written by process {os.getpid()} on " in line for line in waiting)
    assert all("3 of 3 videos are in" in printed for printed, _ in said)
    assert tool.main([*args, "--out", str(alone)]) == 0
    made = [{path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()} for folder in (out, alone)]
    assert made[0].keys() == made[1].keys()
    assert all(path.read_bytes() == made[1][name].read_bytes() for name, path in made[0].items())


def test_damaged_clips_of_a_pack_are_made_anew(
    tool: ModuleType, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.pack"
    args = ["--root", str(root), "--out", str(out), "--form", "pack", "--workers", "1"]
    assert tool.main(args) == 0
    expected = [packed.read(out / name, lambda frames, fps: range(frames)) for name in "123"]
    with (out / packed.FRAMES).open("r+b") as file:
        file.seek(expected[0].size + 100)
        file.write(b"damage")
    assert tool.main([*args, "--verify"]) == 0
    assert packed.clips(out) == ["1", "3", "2"]  # a clip that is added again goes to the end: the others were not
    for name, pixels in zip("123", expected, strict=True):
        assert np.array_equal(packed.read(out / name, lambda frames, fps: range(frames)), pixels)
    with pytest.raises(SystemExit):
        tool.main([*args[:-4], "--form", "jpeg", "--verify"])
    assert "--verify reads a pack back: give --form pack" in capsys.readouterr().err


def test_wrong_options(tool: ModuleType, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main(["--root", str(root)])
    assert "give --out and --form, or --measure" in capsys.readouterr().err
    args = ["--out", str(tmp_path / "o"), "--workers", "1"]
    assert tool.main(["--root", str(tmp_path / "none"), *args, "--form", "jpeg"]) == 2
    assert "there are no videos and no folders of frames under" in capsys.readouterr().err
    assert tool.main(["--root", str(root), *args, "--form", "pack"]) == 2
    assert "the name of a packed store ends in .pack" in capsys.readouterr().err
