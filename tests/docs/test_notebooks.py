"""The notebooks run from top to bottom in an empty folder; their commands in this process."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from fsar.__main__ import main as fsar
from fsar.commands.train import fit

NOTEBOOKS = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec:FutureWarning")


def run_cell(text: str, names: dict[str, Any]) -> None:
    """As IPython does, as far as these notebooks go."""
    first, _, rest = text.partition("\n")
    if first == "%%bash":
        for line in rest.replace("\\\n", " ").splitlines():
            program, *args = shlex.split(line)
            assert program == "fsar"
            try:
                status: Any = fsar(args)
            except SystemExit as error:
                status = error.code
            assert not status, line
    elif first.startswith("%%writefile "):
        Path(first.split()[1]).write_text(rest)
    else:
        exec(compile(rest if first == "%matplotlib inline" else text, "cell", "exec"), names)


@pytest.mark.parametrize("name", ["compare_methods", "own_clips", "your_metric"])
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(fit.RUN_VARIABLE, raising=False)
    monkeypatch.setattr(plt, "show", plt.close)
    names: dict[str, Any] = {}
    try:
        for number, cell in enumerate(json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]):
            if cell["cell_type"] == "code":
                assert cell["execution_count"], f"cell {number} was not run before it was saved"
                run_cell("".join(cell["source"]), names)
                monkeypatch.delenv(fit.RUN_VARIABLE, raising=False)
    finally:
        sys.modules.pop("my_metrics", None)


def test_there_is_no_other_notebook() -> None:
    assert {path.stem for path in NOTEBOOKS.iterdir()} == {"compare_methods", "own_clips", "your_metric"}
