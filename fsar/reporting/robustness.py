"""What breaks a run, as ``fsar robustness`` measured it: curves over severity, and the table behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsar.evaluation.shifts.kept import CLEAN, FOLDER, TABLE, name_row, read_rows
from fsar.evaluation.shifts.suite import Row
from fsar.evaluation.shifts.table import SHIFTS
from fsar.reporting.figures import ROLES, axes, name_lines, svg

TIME = ("drop", "hold", "slow", "reverse", "shuffle")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (8, 3)))
MARKS = "osD^vPX*"


@dataclass(frozen=True)
class Robustness:
    """Rows of a run, and the curves.

    Args:
        record: what was kept.
        rows: the clean one first.
        plots: as SVG.
    """

    record: Mapping[str, Any]
    rows: list[Row]
    plots: list[str]

    @property
    def clean(self) -> Row:
        """The clips as they are."""
        return next(row for row in self.rows if row.shift == CLEAN)

    @property
    def groups(self) -> list[tuple[str, str, list[Row]]]:
        """(shift, its unit, its rows), in the order of the suite."""
        return [(name, str(self.record["units"].get(name, "")), rows) for name, rows in by_shift(self.rows).items()]

    def effective(self, row: Row) -> float | None:
        """Effective robustness of a row, where a line was fitted."""
        return self.record.get("effective", {}).get(name_row(row.shift, row.severity))


def by_shift(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of every shift but clean, from mild to harsh."""
    names = dict.fromkeys(row.shift for row in rows if row.shift != CLEAN)
    found = {name: [row for row in rows if row.shift == name] for name in (*SHIFTS, *names)}
    order = {name: SHIFTS[name].severities for name in SHIFTS}

    def harsh(row: Row) -> float:
        own = order.get(row.shift, (0.0, 1.0))
        return row.severity if own[-1] >= own[0] else -row.severity  # a quality falls

    return {name: sorted(some, key=harsh) for name, some in found.items() if some}


def read_robustness(run: Path, prefix: str) -> Robustness | None:
    """What was kept of a run; None where nothing was measured.

    Args:
        run: its folder.
        prefix: of the ids of the curves.

    Raises:
        ValueError: when the file is damaged.
    """
    if not (run / FOLDER / TABLE).is_file():
        return None
    record, rows = read_rows(run)
    clean, groups = next(row for row in rows if row.shift == CLEAN), by_shift(rows)
    parts = (
        ("time", {name: some for name, some in groups.items() if name in TIME}),
        ("pixels", {name: some for name, some in groups.items() if name not in TIME}),
    )
    plots = [draw_curves(clean, some, f"{prefix}-{what}", what) for what, some in parts if some]
    return Robustness(record, rows, plots)


def draw_curves(clean: Row, groups: Mapping[str, Sequence[Row]], prefix: str, what: str) -> str:
    """Accuracy over severity, each shift a line from the clean clips on; told apart by mark and dash."""
    figure, found = axes(f"accuracy, %: {what} changed", "severity, from mild to harsh", ROLES)
    most, lines = max(map(len, groups.values())), []
    for number, (name, rows) in enumerate(groups.items()):
        some = [clean, *rows]
        y = [100 * row.accuracy for row in some]
        half = [100 * row.interval_95 for row in some]
        found.errorbar(
            range(len(some)), y, half, color=ROLES["ink"], linewidth=1.3, marker=MARKS[number % len(MARKS)],
            markersize=4, elinewidth=0.8, linestyle=DASHES[number % len(DASHES)],
        )  # fmt: skip
        lines.append((name, y[-1], ROLES["ink"]))
    found.axhline(100 * clean.accuracy, color=ROLES["accent"], linewidth=1)
    found.set_xticks(range(most + 1), ["clean", *map(str, range(1, most + 1))])
    name_lines(found, lines)
    return svg(figure, prefix, f"Accuracy while {what} of the clips is changed; the numbers follow in a table.")
