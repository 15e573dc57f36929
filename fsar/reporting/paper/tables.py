"""The report's tables for a paper: LaTeX, and CSV with the same numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsar.evaluation.cells import to_cell
from fsar.evaluation.comparing.comparison import paired_difference
from fsar.evaluation.marks import marks
from fsar.reporting.comparison import ComparedRuns
from fsar.reporting.runs import setting
from fsar.reporting.view import Classes, Sweep, View
from fsar.terminal.shown import shown

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number of a table.

    Args:
        value: in the unit of its column.
        half: half its 95 % interval; None for a number without one.
        digits: behind the point.
        bold: it is surely the best of its column.
        signed: a difference, shown with its sign.
    """

    value: float
    half: float | None = None
    digits: int = 2
    bold: bool = False
    signed: bool = False

    def write(self) -> tuple[str, str]:
        """The number and half its interval as text; "" for what is not there."""
        sign = "+" if self.signed else ""
        half = "" if self.half is None or not math.isfinite(self.half) else f"{self.half:.{self.digits}f}"
        return f"{self.value:{sign}.{self.digits}f}", half


Cell = str | Number | None


@dataclass(frozen=True)
class Table:
    """A table of a paper.

    Args:
        name: of its files.
        about: what it holds, a line.
        header: of the columns.
        rows: as many cells each; None stays empty.
    """

    name: str
    about: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def latex(self) -> str:
        """A ``tabular`` to be ``\\input``; it needs the package booktabs."""
        numbers = [any(isinstance(row[c], Number) for row in self.rows) for c in range(len(self.header))]
        lines = [f"% {self.about}", "% \\usepackage{booktabs}"]
        lines += [f"\\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numbers)}}}", "\\toprule"]
        lines += [" & ".join(map(escape, self.header)) + r" \\", "\\midrule"]
        lines += [" & ".join(map(latex_cell, row)) + r" \\" for row in self.rows]
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])

    def csv(self) -> str:
        """The same with the halves of the intervals in columns of their own."""
        wide = [any(isinstance(row[c], Number) and row[c].write()[1] for row in self.rows)  # type: ignore[union-attr]
                for c in range(len(self.header))]  # fmt: skip
        out = io.StringIO()
        header: list[tuple[str, ...]] = [
            (name, "± 95 %") if both else (name,) for name, both in zip(self.header, wide, strict=True)
        ]
        rows = [[csv_cell(cell, both) for cell, both in zip(row, wide, strict=True)] for row in self.rows]
        csv.writer(out, lineterminator="\n").writerows(
            [[word for cell in row for word in cell] for row in (header, *rows)]
        )
        return out.getvalue()


def escape(text: str) -> str:
    """Text as LaTeX reads it."""
    return "".join(SPECIAL.get(letter, letter) for letter in shown(text)).replace("±", r"$\pm$")


def latex_cell(cell: Cell) -> str:
    """A cell as LaTeX."""
    if not isinstance(cell, Number):
        return escape(cell or "")
    value, half = cell.write()
    text = value + (rf" \pm {half}" if half else "")
    return rf"$\mathbf{{{text}}}$" if cell.bold else f"${text}$"


def csv_cell(cell: Cell, both: bool) -> tuple[str, ...]:
    """A cell as one column of a CSV, or ``both``; a text that a spreadsheet would compute is quoted."""
    words = cell.write() if isinstance(cell, Number) else (to_cell(cell or ""), "")
    return words if both else words[:1]


def surely_best(block: ComparedRuns) -> int | None:
    """The line whose paired difference from every other one leaves out zero, all above it; None when there is none."""
    best = int(np.argmax([line.result.record["accuracy"] for line in block.lines]))
    for i, line in enumerate(block.lines):
        if i == best:
            continue
        try:
            mean, half, _ = paired_difference(line.result, block.lines[best].result)
        except (ValueError, FileNotFoundError):
            return None
        if not mean > half:
            return None
    return best


def compared(block: ComparedRuns, names: Sequence[str], number: int) -> Table:
    """Several runs on the same episodes; bold is only what surely beats all others, episode by episode."""
    best, rows = surely_best(block), list[tuple[Cell, ...]]()
    for i, line in enumerate(block.lines):
        record = line.result.record
        accuracy = Number(100 * record["accuracy"], 100 * record["interval_95"], bold=i == best)
        pair = line.difference
        difference = Number(100 * pair[0], 100 * pair[1], signed=True) if pair else None
        words = [line.run.title, marks(record), line.differs]
        rows.append((names[line.number], ", ".join(filter(None, words)), accuracy, difference))
    about = f"{block.setting}, the same {block.episodes:,} episodes; bold: surely better than every other line (paired)"
    header = ("run", "method", "accuracy, %", "minus the first, points")
    return Table(f"comparison_{number}", about, header, rows)


def of_view(view: View) -> list[Table]:
    """The tables of one run."""
    if not view.record:
        return []
    rows = []
    for result in view.featured:
        record = result.record
        accuracy = Number(100 * record["accuracy"], 100 * record["interval_95"])
        floor = record.get("zero_shot_accuracy")
        names = Number(100 * floor, 100 * record["zero_shot_interval_95"]) if floor is not None else None
        test = ", ".join(filter(None, (setting(record), view.changes(record))))
        chance = Number(100 / record["data"]["ways"])
        rows.append((test, accuracy, names, chance, Number(record["episodes"], digits=0)))
    about = f"{view.run.title} on {view.record['data']['benchmark']}, 95 % intervals over episodes"
    header = ("test", "accuracy, %", "class names alone, %", "chance, %", "episodes")
    tables = [Table("accuracy", about, header, rows)]
    tables += [swept(sweep, f"sweep_{i}") for i, sweep in enumerate(view.sweeps, 1)]
    return tables + (by_class(view.classes[0]) if view.classes else [])


def by_class(classes: Classes) -> list[Table]:
    """Accuracy by class, the confusion matrix and the most confused pairs of a test."""
    said = setting(classes.record)
    shares: list[tuple[Cell, ...]] = [
        (name, Number(100 * share.value, digits=1), *(Number(100 * end, digits=1) for end in share.ends),
         Number(classes.seen[name], digits=0))
        for name, share in classes.shares
    ]  # fmt: skip
    names = classes.record["class_names"]
    matrix: list[tuple[Cell, ...]] = [
        (f"{i}. {name}", *(Number(100 * share, digits=0) for share in row))
        for i, (name, row) in enumerate(zip(names, classes.confusion, strict=True), 1)
    ]
    pairs: list[tuple[Cell, ...]] = [
        (truth, answer, Number(100 * share.value, digits=1)) for truth, answer, share in classes.pairs
    ]
    per_class = ("class", "accuracy, %", "low", "high", "queries")
    of = "of the queries with the other class on offer" if classes.offered else "of all queries"
    return [
        Table("classes", f"{said}: accuracy by class with its Wilson interval", per_class, shares),
        Table("confusion", f"{said}: per cent of each row's queries", ("shown", *map(str, range(1, len(names) + 1))),
              matrix),
        Table("confused", f"{said}: the most confused pairs, share {of}", ("shown", "taken for", "share, %"), pairs),
    ]  # fmt: skip


def swept(sweep: Sweep, name: str) -> Table:
    """Accuracy by ways and shots."""
    rows: list[tuple[Cell, ...]] = []
    for ways in sweep.ways:
        found = [sweep.grid.get((ways, shots)) for shots in sweep.shots]
        rows.append(
            (f"{ways}-way", *(Number(100 * r["accuracy"], 100 * r["interval_95"]) if r else None for r in found))
        )
    about = f"{sweep.results[0].record['method']}: accuracy in %, {sweep.results[0].record['episodes']:,} episodes each"
    return Table(name, about, ("", *(f"{shots}-shot" for shots in sweep.shots)), rows)
