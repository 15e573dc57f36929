"""The classes of a folder tested on themselves, and answers as a table."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from fsar.__main__ import main
from fsar.commands.look.answers import describe, describe_known
from fsar.evaluation.cells import to_cell
from fsar.inference.answer import Answer, Answers, write_csv
from fsar.inference.known import draw_known
from fsar.inference.threshold import Threshold

THRESHOLD = Threshold({"@run": -1.0, "walk": -1.0}, 0.9, 9, 9, 18)
SIMILAR = {"@run": 0.0, "walk": 0.0}


@pytest.fixture
def three(clips: Path, tmp_path: Path) -> Path:
    """Three classes of four clips."""
    for name in ("class_0", "class_1", "class_2"):
        for clip in range(4):
            target = tmp_path / "three" / name / f"{clip}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clips / name / f"{clip}.mp4", target)
    return tmp_path / "three"


def test_the_draw_is_complete_and_repeatable() -> None:
    clips = {name: [Path(name, f"{i}.mp4") for i in range(6)] for name in "abc"}
    support, rest = draw_known(clips, 2)
    assert {name: len(some) for name, some in support.items()} == {"a": 2, "b": 2, "c": 2}
    assert {*rest, *(clip for some in support.values() for clip in some)} == {
        c for some in clips.values() for c in some
    }
    assert len(rest) == 12
    assert all(clip.parent.name == name for clip, name in rest.items())
    assert draw_known({name: some[::-1] for name, some in clips.items()}, 2) == (support, rest)
    assert any(draw_known(clips, 2, seed)[0] != support for seed in range(1, 5))
    with pytest.raises(ValueError, match=r"^a \(6\), b \(6\), c \(6\): 6 clips of each class are support"):
        draw_known(clips, 6)


def test_known_classes_in_one_command(
    three: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "-c", str(config), "--support", str(three), "--shots", "2"]
    main([*words, "--csv", str(tmp_path / "out.csv")])
    out = capsys.readouterr().out
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["class"] == row["truth"] for row in rows)
    assert len(rows) == 6
    assert f"({right} of 6 clips; 95 % interval" in out
    assert "chance 33.3%" in out
    assert len(re.findall(r"  class \d  \d of 2", out)) == 3
    main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["support"] == {"class 0": 2, "class 1": 2, "class 2": 2}
    assert [(a["clip"], a["truth"]) for a in found["answers"]] == [(row["file"], row["truth"]) for row in rows]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --query CLIP, or --shots K"),
        (["--query", "a.mp4", "--shots", "1"], "give either --query CLIP, or --shots K"),
        (["--shots", "0"], "--shots must be 1 or more, found 0"),
    ],
)
def test_wrong_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["predict", "--encoder", "ViT-B-16", "--support", "somewhere", *options])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_table_holds_no_formula(tmp_path: Path) -> None:
    ranking, similarities = (("@run", 0.75), ("walk", 0.25)), {"@run": -1.5, "walk": -2.0}
    answers = Answers([Answer("=a.mp4", ranking, similarities, THRESHOLD)], {"+b.mp4": "-cut off"})
    write_csv(tmp_path / "out.csv", answers)
    assert (tmp_path / "out.csv").read_text() == (
        "file,class,share,similarity,unlike_all,unreadable\n"
        "'=a.mp4,'@run,0.750000,-1.500000,true,\n'+b.mp4,,,,,'-cut off\n"
    )
    assert to_cell("plain=1") == "plain=1"


@pytest.mark.parametrize("columns", [80, 30])
def test_a_long_name_stays_within_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ("waving", " ".join(["pretending"] * 22), "x" * 250)
    answer = Answer("a.mp4", tuple(zip(names, (0.7, 0.2, 0.1), strict=True)), SIMILAR, THRESHOLD, itself="waving")
    told = describe(answer).splitlines()[1:-1]
    assert max(map(len, told)) <= columns
    assert "".join(re.sub(r"^ +0\.\d{3}|[ █#]", "", line) for line in told) == "".join(names).replace(" ", "")
    bars = [len(re.findall("[█#]", line)) for line in told]
    assert bars[0] == max(bars) > 3
    known = describe_known(Answers([answer]), {"a.mp4": names[1]}, 1, 0).splitlines()[1:-1]
    assert max(map(len, known)) <= columns
    (short,) = describe(Answer("a.mp4", (("waving", 1.0),), SIMILAR, THRESHOLD, itself="waving")).splitlines()[1:-1]
    assert len(short) == min(columns, 42)
