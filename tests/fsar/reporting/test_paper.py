"""Tables of a paper: bold only where the paired difference says so; names that LaTeX cannot mistake."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fsar.reporting.cards import choose_together
from fsar.reporting.classes import Rows
from fsar.reporting.paper import figures, tables
from fsar.reporting.paper.tables import Number, Table, compared, surely_best


def block(*accuracies: float) -> Any:
    lines = [
        SimpleNamespace(
            number=i,
            run=SimpleNamespace(title="OTAM"),
            result=SimpleNamespace(folder=Path(str(i)), record={"accuracy": value, "interval_95": 0.01}),
            difference=(value - accuracies[0], 0.02) if i else None,
            differs="",
        )
        for i, value in enumerate(accuracies)
    ]
    return SimpleNamespace(lines=lines, setting="5-way 1-shot", episodes=100)


@pytest.mark.parametrize(
    ("accuracies", "half", "bold"), [((0.5, 0.6), 0.05, 1), ((0.5, 0.6), 0.1, None), ((0.7, 0.6, 0.5), 0.05, 0)]
)
def test_bold_is_only_what_surely_beats_all_others(
    accuracies: tuple[float, ...], half: float, bold: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def difference(a: Any, b: Any) -> tuple[float, float, int]:
        return b.record["accuracy"] - a.record["accuracy"], half + 1e-9, 100

    monkeypatch.setattr(tables, "paired_difference", difference)
    monkeypatch.setattr(tables, "marks", lambda record: "")
    assert surely_best(block(*accuracies)) == bold
    latex = compared(block(*accuracies), ["a", "b", "c"], 1).latex().splitlines()
    assert [i for i, line in enumerate(line for line in latex if " & OTAM" in line) if "mathbf" in line] == (
        [] if bold is None else [bold]
    )


def test_what_is_not_paired_makes_nothing_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("not on the same episodes")

    monkeypatch.setattr(tables, "paired_difference", refuse)
    assert surely_best(block(0.1, 0.9)) is None


def test_latex_and_csv_say_the_same() -> None:
    rows = [["50 % of_a {b} \\ #1 & ~", Number(86.351, 0.309)], ["=1+1", Number(-2, 0.5, signed=True)], ["none", None]]
    table = Table("t", "about", ("name", "accuracy, %"), rows)
    latex = table.latex().splitlines()
    assert latex[2] == r"\begin{tabular}{lr}"
    assert latex[6:9] == [
        r"50 \% of\_a \{b\} \textbackslash{} \#1 \& \textasciitilde{} & $86.35 \pm 0.31$ \\",
        r"=1+1 & $-2.00 \pm 0.50$ \\",
        r"none &  \\",
    ]
    cells = list(csv.reader(io.StringIO(table.csv())))
    assert cells[0] == ["name", "accuracy, %", "± 95 %"]
    assert cells[1][1:] == ["86.35", "0.31"]
    assert cells[2] == ["'=1+1", "-2.00", "0.50"]
    assert cells[3] == ["none", "", ""]


def test_names_in_tables_and_figures_send_nothing_to_a_terminal() -> None:
    table = Table("t", "about", ("name",), [["\x1b[31mred"]])
    assert r"\x1b[31mred" in table.csv()
    assert r"\textbackslash{}x1b[31mred" in table.latex()
    assert figures.wrap("\x1b[31mred") == r"\x1b[31mred"
    ends = "moving something from the top right to the bottom left"
    assert figures.wrap(ends) == "moving something from the top\nright to the bottom left"
    assert figures.wrap(f"{ends} and back to where it was before").endswith(" …")


def test_shared_episodes_are_first_those_on_which_runs_differ() -> None:
    classes = np.array([["a", "b"]] * 6)
    truth = np.array([0, 1, 0, 1, 0, 1])
    right = np.array([[1, 1, 0, 0, 1, 1], [1, 0, 1, 0, 1, 0]])
    rows = [
        Rows(np.arange(6), np.arange(6).astype(str), classes, truth, np.eye(2)[np.where(some, truth, 1 - truth)])
        for some in right
    ]
    chosen = choose_together(rows, 4)
    assert {one.row for one in chosen if one.kind == "named right by some"} == {1, 2, 5}
    assert [one.row for one in chosen if one.kind == "named right by none"] == [3]
    assert len(choose_together(rows, 6)) == 6
    assert {one.kind for one in choose_together(rows, 6)} == {
        f"named right by {who}" for who in ("some", "none", "all")
    }
