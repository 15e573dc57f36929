"""``fsar check-benchmark`` on further lists by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsar.commands.data.check_benchmark import main

PART = {
    "diving48_vba": ("aaaaaaaaaaa_00001", "bbbbbbbbbbb_00001", "aaaaaaaaaaa_00002"),
    "gym99_vba": ("0LtLS9wROrk_002407_002435_0003_0005", "x-_LS9wROrk_1_2", "0LtLS9wROrk_9_9"),
    "nturgbd_fsosar": ("S001C001P001R001A001", "S001C001P002R001A002", "S002C001P001R001A003"),
    "epic_kitchens_hyrsm": ("P01_11_100", "P02_11_100", "P01_11_101"),
}


@pytest.mark.parametrize("name", PART)
def test_what_is_there_and_what_is_wrong_is_told(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, other, test = PART[name]
    lists = {"train": {"a": [first, other]}, "val": {}, "test": {"b": [test]}}
    (tmp_path / "lists.json").write_text(json.dumps(lists))
    for video in (first, test):
        (tmp_path / "videos" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / "deep" / f"{video}.mp4").touch()
    words = ["--benchmark", name, "--root", str(tmp_path / "videos"), "--lists", str(tmp_path / "lists.json")]
    assert main(words) == 2
    assert f"list of {name} that was published" in capsys.readouterr().err
    assert main([*words, "--allow-changed"]) == 1
    said = capsys.readouterr().out
    assert "train: found 1 of 2 videos, 1 class" in said
    assert "test: found 1 of 1 video," in said
    assert "of the test are in training too" in said  # the recording, or the person, of both
    (tmp_path / "videos" / f"{other}.mp4").touch()
    assert main([*words, "--allow-changed"]) == 0
