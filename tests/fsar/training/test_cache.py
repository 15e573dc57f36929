"""What a frozen encoder gave is kept between evaluations, and believed only when whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from episodes.features.cache import make_room
from fsar.commands.train.fit import main

FRAME_MEAN = ["--model.method", "Prototype", "--model.alignment", "FrameMean"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr("sys.argv", ["fsar"])
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test(config: Path, name: str, *options: str) -> dict[str, Any]:
    main(["test", "--debug", "--run", name, "-c", str(config), *FRAME_MEAN, *options])
    return json.loads(next(Path(name).glob("results/*/results.json")).read_text())


test.__test__ = False  # type: ignore[attr-defined]


def rows(name: str) -> bytes:
    return next(Path(name).glob("results/*/episodes.csv.gz")).read_bytes()


def test_another_test_encodes_nothing_and_finds_the_same(
    config: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert test(config, "first")["encoder_forwards"] == 15
    assert len(list(cache.glob("*/*.npy"))) == 15
    assert test(config, "second")["encoder_forwards"] == 0
    assert "15 of 15 clips from the cache" in capsys.readouterr().err
    assert rows("first") == rows("second")
    more = test(config, "shots", "--data.test_shots", "2")
    assert more["encoder_forwards"] == 0
    off = test(config, "off", "--data.test_shots", "2", "--data.cache", "false")
    assert off["encoder_forwards"] == 15
    assert rows("off") == rows("shots")


def test_other_clips_are_encoded(config: Path) -> None:
    test(config, "first")
    assert test(config, "second", "--data.frames", "3")["encoder_forwards"] == 15


def test_damaged_entries_are_encoded_again(config: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test(config, "first")
    files = sorted(cache.glob("*/*.npy"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:-50])
    flipped = bytearray(files[2].read_bytes())
    flipped[300] ^= 1
    files[2].write_bytes(flipped)
    assert test(config, "second")["encoder_forwards"] == 3
    assert capsys.readouterr().err.count("is damaged") == 3
    assert rows("first") == rows("second")


def test_a_folder_that_cannot_be_written_costs_nothing(config: Path, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.warns(UserWarning, match="not kept"):
        assert test(config, "first")["encoder_forwards"] == 15


def test_what_training_changes_is_not_kept(config: Path, cache: Path) -> None:
    main(["fit", "--debug", "--run", "run", "-c", str(config)])
    assert not cache.exists()


def test_the_oldest_go(tmp_path: Path) -> None:
    for number in range(4):
        file = tmp_path / "key" / f"{number}.npy"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(100))
        os.utime(file, (number, number))
    make_room(tmp_path, 250)
    assert sorted(file.name for file in tmp_path.glob("*/*.npy")) == ["2.npy", "3.npy"]
