"""Whole tables on real clips, cut from the real lists, with the toy CLIP."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fsar.commands.measure import reproduce
from fsar.commands.measure.reproduce import main
from tests.fsar.reproduction.conftest import Cut, run_here

BUDGET = {"train_episodes": 1, "val_episodes": 4, "test_episodes": 20, "queries": 1, "frames": 2, "workers": 0}
TINY = [
    "--budget",
    "short",
    "--encoder",
    "tiny",
    "--data.check_videos",
    "false",
    "--trainer.accumulate_grad_batches",
    "1",
]
TINY += [word for name, value in BUDGET.items() for word in (f"--data.{name}", str(value))]

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "run_process", run_here)


def words(shared: Path, benchmark: str, cut: Path, methods: str, out: Path) -> list[str]:
    place = ["--benchmark", benchmark, "--root", str(shared / "videos" / cut.stem), "--lists", str(cut)]
    return [*place, "--allow-changed", "--methods", *methods.split(), "-o", str(out), *TINY]


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "table.json").read_text())["rows"]
    return found


def test_a_table_of_ucf13(shared: Path, cut: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table"
    line = [*words(shared, "ucf101", cut("ucf13", 2), "clip_fsar prototype", out), "--shots", "1"]
    assert main(line) == 0, "".join(log.read_text()[-3000:] for log in out.glob("cells/*/log.txt"))
    first = rows(out)
    assert [(row["method"], row["shots"], row["published"], row["state"]) for row in first] == [
        ("clip_fsar", 1, 91.3, "done"),
        ("prototype", 1, 89.7, "done"),
    ]
    for row in first:
        assert row["difference"] == pytest.approx(row["ours"] - row["published"])
        assert not row["comparable"]
        assert {"lists are not the published ones", "encoder fsar-tiny, published with"} <= {
            said[:33] for said in row["differs"]
        }
        assert row["episodes"] == 20
    assert list((out / "features").glob("test-*/frames.npy"))  # of the frozen encoder
    assert (out / "cells/clip_fsar_1shot/run/checkpoints/last.ckpt").is_file()
    with (out / "table.csv").open() as file:
        assert [row["published"] for row in csv.DictReader(file)] == ["91.3", "89.7"]
    text = (out / "table.md").read_text()
    assert "| clip_fsar | fsar-tiny | 1     |" in text
    assert "(https" not in text
    assert "A difference in brackets" in text
    assert r"clip\_fsar & fsar-tiny & 1 &" in (out / "table.tex").read_text()
    capsys.readouterr()
    assert main(line) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert rows(out) == first


def test_one_training_serves_all_shots_and_a_crash_is_recorded(
    shared: Path, cut: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen = tmp_path / "table", []
    line = words(shared, "ssv2_full", cut("ssv2toy15", 6), "molo coop", out)

    def run(words: list[str], log: Path) -> int:
        seen.append(words[0])
        if words[0] == "extract":
            return 0
        if "coop" in str(log) and words[0] == "fit":
            with log.open("a") as file:
                file.write("fsar fit: out of memory\n")
            return 1
        return run_here(words, log)

    monkeypatch.setattr(reproduce, "run_process", run)
    assert main([*line, "--views", "1"]) == 1
    found = rows(out)
    assert [(row["method"], row["shots"], row["state"]) for row in found] == [
        ("molo", 1, "done"),
        ("molo", 5, "done"),
        ("coop", 1, "failed"),
        ("coop", 5, "failed"),
    ]
    assert found[2]["error"] == "fit: fsar fit: out of memory (exit status 1)"
    assert "coop, 1-shot failed. fit: fsar fit: out of memory" in (out / "table.md").read_text()
    assert seen == ["fit", "test", "extract", "fit", "extract", "fit"]
    assert "trained on 1 stored views of each video" in found[2]["differs"]


def test_half_of_the_files_and_other_lists_are_told_before_anything_runs(
    shared: Path, cut: Cut, tmp_path: Path
) -> None:
    out = tmp_path / "table"
    line = words(shared, "ucf101", cut("ucf13", 6), "prototype", out)
    with pytest.raises(SystemExit, match=r"the lists of ucf101 are not the published ones.*--allow-changed"):
        main([word for word in line if word != "--allow-changed"])
    half = tmp_path / "half"
    half.mkdir()
    for label in sorted((shared / "videos" / "ucf13").iterdir())[:6]:
        (half / label.name).symlink_to(label)
    line[line.index("--root") + 1] = str(half)
    with pytest.raises(SystemExit, match=r"42 of the 78 videos of ucf101 are not under .*; --allow-missing runs"):
        main(line)
    line = words(shared, "ucf101", cut("ucf13", 3), "prototype", out)
    with pytest.raises(SystemExit, match=r"prototype_5shot: split test of ucf101: .*3"):
        main(line)
    assert not out.exists()
