"""The simulation of a large data set, on a small one."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "simulate_scale.py"


def test_every_stage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TOOL))["main"](["--videos", "600", "--episodes", "300", "--scored", "50", "--memory", "1e6"])
    said = capsys.readouterr().out
    for stage in ("listing files", "sampling", "bank of 0.0 GB", r"scoring \(OTAM\)", "results", "rows of the results"):
        assert re.search(rf"^{stage}.* us each .* MB held$", said, re.MULTILINE), said
    assert "most that was held meanwhile" in said
