"""What a table costs: unit costs are measured, counts are arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fsar.commands.measure.reproduce import main
from fsar.reproduction.checks import check_works
from fsar.reproduction.costs import Costs
from fsar.reproduction.plan import LIBRARIES, count_step, make_plan
from fsar.reproduction.recipes import Asked, find_works

VIDEOS = {"train": 4280, "val": 1194, "test": 1292}
COSTS = Costs(read=0.0, encode=1.0, train=3.0, score=0.01, saved=1000, kept=10)


def test_counts_times_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    asked = Asked("hmdb51", None, Path("lists"), encoder="tiny", options=("--data.workers", "0"))
    found = {one.work.name: one for one in check_works(asked, find_works(asked, ["molo", "prototype"], [1, 5]), False)}
    step = count_step(found["molo"], VIDEOS, COSTS)
    assert step.episodes == 500 * 16
    assert step.training == 8000 * 5 * (1 + 6) * 3.0
    assert step.validation == 10 * (1194 * 1.0 + 1000 * 0.01)  # an epoch has 800 episodes
    assert step.test == 1292 * 1.0 + 2 * 10_000 * 0.01  # both tests on videos that are encoded once
    weights = sum(weight.nbytes for weight in found["molo"].learner.parameters())
    assert step.memory == LIBRARIES + weights + 12 * step.trained + 35 * 1000
    step = count_step(found["prototype_5shot"], VIDEOS, COSTS)
    assert (step.training, step.validation, step.trained) == (0, 0, 0)
    assert not found["molo"].stored
    assert found["prototype_1shot"].stored
    assert count_step(found["molo"], {**VIDEOS, "val": 0}, COSTS).validation == 0
    laid_over = replace(asked, options=("--data.workers", "0", "--trainer.max_steps", "10"))
    (short,) = check_works(laid_over, find_works(laid_over, ["molo"], [1]), False)
    assert count_step(short, VIDEOS, COSTS).episodes == 10 * 16


def test_a_plan_needs_neither_videos_nor_weights_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["--benchmark", "ssv2_full", "--methods", "clip_fsar", "--encoder", "tiny", "--data.workers", "0"]
    assert main([*line, "--plan", "--seconds", "0"]) == 0
    said = capsys.readouterr().out
    assert "ssv2_full: 67,013 train, 1,926 val, 2,857 test videos" in said
    assert "clip_fsar_5shot  clip_fsar/ssv2_full_5shot  5 " in said
    assert "120,000" in said  # 7,500 steps of 16
    assert "a video drawn here (no --root)" in said
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit) as end:
        main(line)
    assert end.value.code == 2
    assert "--root is needed" in capsys.readouterr().err


def test_a_small_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = Asked("hmdb51", None, Path("lists"), encoder="tiny")
    monkeypatch.setattr("fsar.reproduction.plan.measure_costs", lambda *_: COSTS)
    works = find_works(asked, ["clip_fsar"], [1])
    plan = make_plan(asked, check_works(asked, works, False), tmp_path / "there" / "is" / "none")
    assert plan.free > 0
    assert "too little: name another folder" in plan.warning(plan.free + 1)
    assert plan.warning(0) == ""
