"""Runs side by side: the table, and the paired difference with its interval."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fsar.evaluation.comparing import comparison
from fsar.evaluation.results import summarise, write_json, write_rows

ROOT = Path(__file__).resolve().parents[4]
NAMES = ("wave", "jump", "sit")
EPISODES = 400


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("fsar.commands.look.compare")


def result(run: Path, right: np.ndarray, **data: Any) -> Path:
    """A result folder in which query ``(e q)`` is named right where ``right`` says so."""
    truth = np.tile(np.arange(3), (len(right), 1))
    guess = np.where(right, truth, (truth + 1) % 3)
    rows = {
        "number": np.arange(len(right)),
        "classes": np.tile(np.arange(3), (len(right), 1)),
        "truth": truth,
        "video": truth,
        "scores": np.eye(3)[guess],
    }
    facts = {"benchmark": "toy", "split": "test", "split_sha256": "s", "ways": 3, "shots": 1, "queries": 1, "seed": 0}
    facts = {**facts, "episodes": len(right), "opposites": False, "episodes_sha256": "list", **data}
    folder = run / "results" / f"test_3way_{facts['shots']}shot"
    folder.mkdir(parents=True)
    write_rows(folder / "episodes.csv.gz", rows, NAMES, ["a.mp4", "b.mp4", "c.mp4"])
    write_json(
        folder / "results.json",
        {"method": "Toy", "inference": None, **summarise(rows, NAMES), "data": facts},
    )
    return folder


def draws(seed: int, chance: float) -> np.ndarray:
    return np.random.default_rng(seed).random((EPISODES, 3)) < chance


def test_the_paired_interval_is_that_of_the_episodes_differences(tool: ModuleType, tmp_path: Path) -> None:
    base = draws(0, 0.6)
    better = base | draws(1, 0.1)  # right wherever the other is, and a little more often
    a, b = comparison.find([result(tmp_path / "a", base), result(tmp_path / "b", better)])
    mean, interval, count = comparison.paired_difference(a, b)
    difference = better.mean(1) - base.mean(1)
    assert count == EPISODES
    assert mean == pytest.approx(difference.mean())
    assert interval == pytest.approx(1.96 * difference.std(ddof=1) / EPISODES**0.5)
    assert interval < a.record["interval_95"] / 2  # what pairing is for
    assert comparison.paired_difference(b, a)[0] == pytest.approx(-mean)


def test_what_is_sure_and_what_is_not(tool: ModuleType, tmp_path: Path) -> None:
    base = draws(0, 0.6)
    better = base | draws(1, 0.3)
    folders = [result(tmp_path / name, x) for name, x in (("a", base), ("b", better), ("c", base))]
    sure, nothing = comparison.differences(comparison.find(folders))
    assert "p < 0.001" in sure
    assert "no certain difference" not in sure
    assert "over other clips and classes +" in sure
    assert "+0.00 ± 0.00 points" in nothing
    assert "p 1.000, no certain difference" in nothing


def test_many_comparisons_are_corrected(tool: ModuleType, tmp_path: Path) -> None:
    """The same small difference is less sure among five than alone."""
    base = draws(0, 0.6)
    folders = [result(tmp_path / "a", base)]
    folders += [result(tmp_path / f"b{i}", draws(i + 7, 0.63)) for i in range(5)]
    found = comparison.find(folders)

    def p_of(line: str, over: str) -> float:
        shown = re.search(over + r", p (<)? ?([0-9.]+)", line)
        assert shown is not None
        return float(shown[2])

    for over in (r"episodes", r"classes \S+ to \S+"):
        alone = [p_of(comparison.differences([found[0], other])[0], over) for other in found[1:]]
        together = [p_of(line, over) for line in comparison.differences(found)]
        assert together == pytest.approx(comparison.correct_holm(alone), abs=0.006)
        assert sum(together) > sum(alone)


def test_different_episodes_are_not_paired(tool: ModuleType, tmp_path: Path) -> None:
    folders = [
        result(tmp_path / "a", draws(0, 0.6)),
        result(tmp_path / "b", draws(0, 0.6), seed=4, episodes_sha256="x"),
    ]
    a, b = comparison.find(folders)
    with pytest.raises(ValueError, match="cannot be paired, for they are not on the same episodes: seed 0 and 4"):
        comparison.paired_difference(a, b)
    assert "seed 0 and 4" in comparison.differences([a, b])[0]


def test_the_table_covers_runs_and_their_settings(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, seed in (("a", 0), ("b", 1)):
        result(tmp_path / run, draws(seed, 0.6))
        result(tmp_path / run, draws(seed, 0.7), shots=5, episodes_sha256="list of five shots")
    tool.main([str(tmp_path / "a"), str(tmp_path / "b"), "--csv", str(tmp_path / "table.csv")])
    out = capsys.readouterr().out
    assert out.count("| Toy |") == 4
    assert out.count(" minus ") == 2  # each setting with the same setting of the other run
    assert "cannot be paired" not in out
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0].startswith("run,method")
    assert len(lines) == 5


def test_rows_that_lack_an_episode_are_not_paired(tool: ModuleType, tmp_path: Path) -> None:
    a, b = comparison.find([result(tmp_path / "a", draws(0, 0.6)), result(tmp_path / "b", draws(0, 0.6)[:-1])])
    with pytest.raises(ValueError, match="lacks episodes"):
        comparison.paired_difference(a, b)


def test_transductive_results_are_marked_and_paired_on_demand_alone(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [result(tmp_path / run, draws(seed, 0.6)) for seed, run in enumerate("ab")]
    (file,) = Path(runs[1]).rglob("results.json")
    record = {**json.loads(file.read_text()), "sees_other_queries": True, "reads_query_labels": True}
    file.write_text(json.dumps(record))
    tool.main([str(run) for run in runs])
    out = capsys.readouterr().out
    assert "| Toy |" in out
    assert "| Toy (transductive, reads the queries' labels) |" in out
    assert " minus " not in out
    assert "are not paired" in out
    assert "--mixed pairs them all the same" in out
    tool.main([*(str(run) for run in runs), "--mixed"])
    assert capsys.readouterr().out.count(" minus ") == 1


def test_one_episode_has_no_interval(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [result(tmp_path / run, draws(seed, 0.6)[:1]) for seed, run in enumerate("ab")]
    tool.main([str(run) for run in runs])
    out = capsys.readouterr().out
    assert "nan" not in out
    assert re.search(r"\| \d+\.\d\d \|  \|", out)
    assert " ± ? points over the same 1 episode" in out


def test_a_folder_without_results_is_named(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"holds no results\.json"):
        tool.main([str(tmp_path)])
