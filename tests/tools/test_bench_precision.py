"""The bench of precisions runs, and names what a processor has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_every_precision_of_the_toy_has_its_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    sys.modules.pop("bench_precision", None)
    import bench_precision

    monkeypatch.setattr(sys, "argv", ["bench_precision", "--encoder", "fsar-tiny", "--rounds", "1"])
    monkeypatch.setattr(bench_precision, "matrix_rate", lambda: 1e12)
    bench_precision.main()
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == ["float32", "bf16", "torch's own int8", "int8"]
    assert rows[0][2:3] + rows[0][4:] == [" 1.00 ", " 1.0000 "]
    assert all(0.99 < float(row[4]) <= 1 for row in rows)
    assert len({row[4] for row in rows[1:]} | {" 1.0000 "}) > 1  # they are not all the same tower
