"""The notebooks run from top to bottom in an empty folder; their commands in this process. What they print is what
stands in them: the same words, and numbers that differ no more than another machine makes them."""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from fsar.__main__ import main as fsar
from fsar.commands.train import fit

NOTEBOOKS = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec:FutureWarning")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
ELSEWHERE = re.compile(r"━|decode \d+%|clips from the cache|^<Figure")
"""Lines that are others each time: bars, times, places, and pictures."""


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
        print(f"Writing {first.split()[1]}")
    else:
        tree = ast.parse(rest if first == "%matplotlib inline" else text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not text.endswith(";") else None
        exec(compile(tree, "cell", "exec"), names)
        if last is not None and (found := eval(compile(ast.Expression(last.value), "cell", "eval"), names)) is not None:
            print(repr(found))


def stored(cell: dict[str, Any]) -> str:
    """What a cell printed and gave when it was saved, without what it said on standard error."""
    outputs = [out for out in cell["outputs"] if out.get("name") != "stderr" and out["output_type"] != "display_data"]
    texts = [out["text"] if "text" in out else out["data"]["text/plain"] for out in outputs]
    return "\n".join("".join(text) for text in texts)


def compare(there: str, here: str) -> None:
    """Fails where the words differ, or a number by more than a twentieth."""
    lines = [
        [" ".join(line.split()) for line in text.splitlines() if line.strip() and not ELSEWHERE.search(line)]
        for text in (there, here)
    ]
    words, again = (NUMBER.sub("#", "\n".join(some)) for some in lines)
    assert again == words
    numbers = [[float(x.replace(",", "")) for x in NUMBER.findall("\n".join(some))] for some in lines]
    np.testing.assert_allclose(numbers[1], numbers[0], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("here", ["2 of 3 right: 71%", "3 of 3 right: 75%", "3 of 3 wrong: 71%", ""])
def test_a_stale_output_is_found(here: str) -> None:
    there = "bar ━━ 1/4\n3 of  3 right: 71%\n"
    compare(there, "3 of 3 right: 72%\nbar ━━━ 4/4")
    with pytest.raises(AssertionError):
        compare(there, here)


@pytest.mark.parametrize("name", ["compare_methods", "own_clips", "your_metric"])
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(fit.RUN_VARIABLE, raising=False)
    monkeypatch.setattr(plt, "show", plt.close)
    monkeypatch.setattr(Figure, "__repr__", lambda figure: "<Figure>")
    names: dict[str, Any] = {}
    try:
        for number, cell in enumerate(json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]):
            if cell["cell_type"] == "code":
                assert cell["execution_count"], f"cell {number} was not run before it was saved"
                run_cell("".join(cell["source"]), names)
                compare(stored(cell), capsys.readouterr().out)
                monkeypatch.delenv(fit.RUN_VARIABLE, raising=False)
    finally:
        sys.modules.pop("my_metrics", None)


def test_there_is_no_other_notebook() -> None:
    assert {path.stem for path in NOTEBOOKS.iterdir()} == {"compare_methods", "own_clips", "your_metric"}
