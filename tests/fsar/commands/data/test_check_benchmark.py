"""The report on a copy of a data set."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from episodes.benchmarks import SPLITS, Lists, definition, read_lists, write_lists

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("fsar.commands.data.check_benchmark")


def lists(
    folder: Path, name: str, classes: dict[str, tuple[str, ...]], videos: dict[str, tuple[tuple[int, str], ...]]
) -> str:
    write_lists(Lists(definition(name), classes, videos), folder / f"{name}.csv")
    return str(folder)


@pytest.fixture
def films(tmp_path: Path) -> list[str]:
    """Options for a few clips of HMDB51 that are there, one that is not, and one file that belongs to none."""
    classes = {"train": ("wave",), "val": ("golf",), "test": ("sit",)}
    videos = {
        "train": ((0, "film_wave_u_0"), (0, "film_wave_u_1")),
        "val": ((0, "b_golf_u_0"),),
        "test": ((0, "film_sit_u_0"), (0, "film_sit_u_1")),
    }
    (tmp_path / "root").mkdir()
    for video in ("film_wave_u_0", "b_golf_u_0", "film_sit_u_0", "film_sit_u_1", "holiday"):
        (tmp_path / "root" / f"{video}.avi").touch()
    folder = lists(tmp_path, "hmdb51", classes, videos)
    options = ["--benchmark", "hmdb51", "--lists", folder, "--allow-changed", "--workers", "1"]
    return [*options, "--root", str(tmp_path / "root")]


def test_a_copy_with_gaps(
    tool: ModuleType, films: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "gaps.csv"
    assert tool.main([*films, "--read", "none", "--shots", "1", "--csv", str(table)]) == 1
    out = capsys.readouterr().out
    assert "lists are not as published: train has 1 class, published 31" in out
    assert [line.split() for line in out.splitlines() if line.startswith("  wave")] == [
        ["wave", "2", "1", "1", "0", "0"]
    ]
    assert "1 .avi; such as holiday.avi" in out
    assert "train: 1 of 2 videos (50.0%) are out; the smallest class, 'wave', keeps 1 of 2." in out
    assert "train: 1 class with fewer than 2 videos for 1 shot and 1 query" in out
    assert "train and test have clips of the same 1 recordings (2 and 2 clips), such as 'film'." in out
    assert "test: 2.0 clips per recording" in out
    assert list(csv.reader(table.read_text().splitlines()))[1:] == [["train", "wave", "film_wave_u_1", "missing", ""]]


def test_unreadable_clips(
    tool: ModuleType, films: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "root" / "film_wave_u_1.avi").touch()
    assert tool.main(films) == 1  # all of them are empty files
    assert "train (1 class)" in capsys.readouterr().out


def test_real_clips_are_whole(
    tool: ModuleType, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = json.loads((shared / "videos" / "splits.json").read_text())["ssv2toy15"]
    classes = {s: tuple(name.replace("_", " ") for name in list(clips[s])[:2]) for s in SPLITS}
    videos = {
        s: tuple((i, v[:-4]) for i, name in enumerate(list(clips[s])[:2]) for v in clips[s][name]) for s in SPLITS
    }
    folder = lists(tmp_path, "ssv2_full", classes, videos)
    root = str(shared / "videos" / "ssv2toy15")
    args = ["--benchmark", "ssv2_full", "--root", root, "--lists", folder, "--allow-changed", "--workers", "2"]
    assert tool.main(args) == 0
    out = capsys.readouterr().out
    assert "test (2 classes)" in out
    assert "files that belong to no video of the lists: 90 .mp4" in out


def test_trained_elsewhere(tool: ModuleType, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ssv2_full", "ssv2_small"):
        found = read_lists(shared / "splits" / "published" / "clip_fsar" / name, definition(name))
        write_lists(found, tmp_path / f"{name}.csv")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / f"{found.videos['test'][0][1]}.webm").touch()
    args = ["--benchmark", "ssv2_small", "--root", str(tmp_path / "root"), "--lists", str(tmp_path), "--read", "none"]
    assert tool.main([*args, "--trained-on", "ssv2_full"]) == 1
    assert "7 of the 24 test classes and 568 of the 2,400 test videos were trained on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--root", "nowhere"), "there is no folder nowhere"),
        (("--lists", "nowhere"), "no lists of hmdb51 in nowhere: looked for hmdb51.csv"),
        (("--benchmark", "hmdb"), "no published benchmark 'hmdb'; known are ssv2_full"),
    ],
)
def test_wrong_options(
    tool: ModuleType, films: list[str], capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
) -> None:
    words = list(films)
    words[words.index(change[0]) + 1] = change[1]
    assert tool.main(words) == 2
    assert message in capsys.readouterr().err


def test_a_root_without_the_videos(
    tool: ModuleType, films: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    for i in range(4):
        (tmp_path / "other" / f"party{i}.mp4").touch()
    assert tool.main([*films[:-1], str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err
    assert "Looked, in all its folders, for b_golf_u_0.avi or a folder b_golf_u_0 of frames" in error
    assert "found party0.mp4, party1.mp4, party2.mp4 and 1 more" in error
