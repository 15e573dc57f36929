"""The benchmark of the alignments measures the right thing."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # before tslearn brings numba in
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench_alignment() -> Iterator[Any]:
    yield SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "bench_alignment.py")))
    torch.set_num_threads(1)  # numba, inside tslearn, sets the number of OpenMP threads, which are torch's too


def test_the_double_loop_computes_otam(bench_alignment: Any) -> None:
    cost = torch.rand(2, 3, 5, 4)
    found = bench_alignment.candidates(compiled=False)
    torch.testing.assert_close(found["double loop"](cost), found["OTAM"](cost))
    torch.testing.assert_close(
        found["tslearn soft-DTW"](cost[..., :4, :]).flatten(), found["soft-DTW"](cost[..., :4, :]).flatten()
    )


def test_a_row_of_the_benchmark_has_a_cell_for_every_heading(bench_alignment: Any) -> None:
    shape = (2, 2, 3, 3)
    found = bench_alignment.candidates(compiled=False)
    times = bench_alignment.interleaved(found, torch.rand(shape), backward=True, rounds=1, seconds=1.0)
    line = bench_alignment.row(shape, True, times, "cpu, 1 thread")
    assert line.count("|") == bench_alignment.header(compiled=False).splitlines()[0].count("|")
