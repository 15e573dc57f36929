"""The bench of evaluation builds, and its two ways of scoring agree."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("merge", ["after", "before"])
def test_both_ways_of_scoring_give_the_same_predictions(merge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    sys.modules.pop("bench_evaluation", None)
    from bench_evaluation import Bench, Setting

    bench = Bench(Setting(merge, shots=2, videos=96, frames=4))  # type: ignore[arg-type]
    assert torch.equal(bench.score(bench.encode(), 4), bench.released(4))
