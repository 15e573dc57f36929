"""No function, file or folder is larger than CONTRIBUTING.md says."""

from __future__ import annotations

import runpy
from pathlib import Path

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "measure_house.py"))


def test_nothing_is_too_large() -> None:
    house = TOOL["measure"]()
    assert len(house.functions) > 1000
    assert not [row for row in house.functions if row[1] > TOOL["FUNCTION"]]
    assert not [row for row in house.files if row[1] > TOOL["FILE"]]
    assert not [row for row in house.folders if row[1] > TOOL["FOLDER"] and not row[0].startswith("tests")]


def test_what_is_large_is_named(tmp_path: Path) -> None:
    (tmp_path / "fsar").mkdir()
    (tmp_path / "fsar" / "long.py").write_text("def f():\n" + "    pass\n" * 60)
    house = TOOL["measure"](tmp_path)
    assert house.functions == [("fsar/long.py:f", 61)]
    assert house.files == [("fsar/long.py", 61)]
    assert house.folders == [("fsar", 1)]
