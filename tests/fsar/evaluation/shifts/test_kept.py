"""What was measured is read again under its own key alone, and a damaged file costs a measurement and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fsar.evaluation.shifts import kept


def test_there_and_back(tmp_path: Path) -> None:
    right = {"clean": np.array([1.0, 0.5, 0.2]), "drop 0.5": np.array([0.1, 0.5, 0.0])}
    key = {"weights_sha256": "a", "on": "query"}
    record = {"key": key, "rows": kept.as_dicts(right), "effective": {"drop 0.5": 0.1}}
    folder = tmp_path / kept.FOLDER
    kept.write_kept(folder, right, record)
    found, others = kept.read_kept(folder, key)
    assert {name: x.tolist() for name, x in found.items()} == {name: x.tolist() for name, x in right.items()}
    assert others == {"effective": {"drop 0.5": 0.1}}
    assert [(row.shift, row.severity) for row in kept.read_rows(tmp_path)[1]] == [("clean", 0), ("drop", 0.5)]
    assert kept.read_kept(folder, key | {"on": "both"}) == ({}, {})
    arrays = folder / kept.EPISODES
    arrays.write_bytes(arrays.read_bytes()[:40])
    assert kept.read_kept(folder, key) == ({}, {})
    (folder / kept.TABLE).write_text('{"rows": [{}]}')
    with pytest.raises(ValueError, match="is damaged: take it away"):
        kept.read_rows(tmp_path)
