"""Names that a spreadsheet would run are written so that it does not, and read back as they were."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from fsar.evaluation.cells import from_cell, to_cell
from fsar.evaluation.comparing.comparison import Result
from fsar.evaluation.results import write_rows
from fsar.reporting.classes import read_rows

NAMES = (
    *("\x1b[31mred", "\x9b2J", "a\nb", "bell\x07", "\u202egpj", "no letter \udcff", "\ud83d"),
    *(r"\x1b", r"\\\x1b", "\\\x1b", "\\\\\x07\\", r"C:\users\x", r"\u202e", "=\x1b", "\\"),
    *("=1+1", "+x", "-jump", "@sum", "\tx", "'=1", "'quoted'", "wave", "''-a", ""),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back(name: str) -> None:
    assert from_cell(to_cell(name)) == name
    assert not to_cell(name).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert to_cell(name).isprintable()


def test_names_without_guards_are_read_as_they_are() -> None:
    for name in ("=1", "wave", "'quoted'", "a\\b", "\x1b[1m", "x1b", "\\\\host\\x"):
        assert from_cell(name) == name


def test_the_table_of_an_evaluation_runs_nothing_and_reads_the_same(tmp_path: Path) -> None:
    names = ("=cmd|' /C calc'!A0", "-jump", "wa\x1b[31mve")
    truth = np.array([[0, 1, 2]])
    scores = np.eye(3)[np.array([[0, 1, 1]])]
    rows = {"number": np.array([4]), "classes": np.array([[0, 1, 2]]), "truth": truth, "video": truth, "scores": scores}
    path = tmp_path / "episodes.csv.gz"
    write_rows(path, rows, names, ["=a/1.mp4", "-jump/2.mp4", "wave/\x1b]0;t\x07\udcff.mp4"])
    with gzip.open(path, "rt", newline="") as file:
        header, *lines = csv.reader(file)
    ways = header.index("score_0")
    assert not any(cell.startswith(("=", "+", "-", "@")) for line in lines for cell in line[1:ways])
    assert all(cell.isprintable() for line in lines for cell in line)
    found = read_rows(path)
    assert found is not None
    assert found.classes.tolist() == [list(names)] * 3
    assert found.video.tolist() == ["=a/1.mp4", "-jump/2.mp4", "wave/\x1b]0;t\x07\udcff.mp4"]
    assert found.truth.tolist() == [0, 1, 2]
    assert found.guess.tolist() == [0, 1, 1]
    again = Result(tmp_path, {}).rows()
    assert again["video"].tolist() == found.video.tolist()
    assert again["episode"].tolist() == [4] * 3
    assert again["right"].mean() == pytest.approx(2 / 3)
