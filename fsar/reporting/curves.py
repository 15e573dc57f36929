"""What was logged while a run was trained, joined over the times it was taken up again."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LoggedRow = dict[str, float]


@dataclass(frozen=True)
class Curves:
    """The rows of ``csv/version_*/metrics.csv`` in the order of their steps.

    Args:
        rows: numbers by column; what a row leaves empty is not in it.
        resumed: the first step of every version but the first.
    """

    rows: tuple[LoggedRow, ...]
    resumed: tuple[int, ...]

    @property
    def columns(self) -> list[str]:
        """Names of what was logged, in the order in which it first occurs."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one column."""
        pairs = [(row["step"], row[name]) for row in self.rows if name in row]
        steps, values = zip(*pairs, strict=True)
        return np.array(steps), np.array(values)

    @property
    def validation(self) -> list[tuple[int, float, float]]:
        """Step, accuracy and half its interval of every validation."""
        return [
            (int(row["step"]), row["val_accuracy"], row.get("val_interval", math.nan))
            for row in self.rows
            if "val_accuracy" in row
        ]

    @property
    def best(self) -> tuple[int, float, float] | None:
        """The validation that ``best.ckpt`` was kept for: the first of the highest accuracy."""
        return max(self.validation, key=lambda found: found[1], default=None)


def read_curves(run: Path) -> Curves | None:
    """The curves of a run, None when nothing was logged."""
    files = sorted(run.glob("csv/version_*/metrics.csv"), key=lambda file: int(file.parent.name.split("_")[1]))
    versions = [rows for rows in map(read_metrics, files) if rows]
    return join(versions) if versions else None


def read_metrics(file: Path) -> list[LoggedRow]:
    """The rows of one file; a line that an interruption cut short is left out. Steps are counted from 1, where loggers
    count from 0: words, tables and figures name the same step.

    Raises:
        ValueError: when it is no table of metrics.
    """
    rows = []
    with file.open(newline="") as lines:
        table = csv.DictReader(lines)
        if table.fieldnames is not None and "step" not in table.fieldnames:
            raise ValueError(f"{file} is no table of metrics: it has no column 'step', found {table.fieldnames[:5]}.")
        for line in table:
            row = {name: number for name, text in line.items() if name and (number := parse(text)) is not None}
            if "step" in row:
                rows.append(row | {"step": row["step"] + 1})
    return rows


def parse(text: str | None) -> float | None:
    """A number, None for an empty or broken cell."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def join(versions: Sequence[list[LoggedRow]]) -> Curves:
    """Versions one after the other; steps that a later one went through again are taken from the later one."""
    rows: list[LoggedRow] = []
    for version in versions:
        start = min(row["step"] for row in version)
        rows = [row for row in rows if row["step"] < start] + version
    starts = [int(min(row["step"] for row in version)) for version in versions[1:]]
    return Curves(tuple(sorted(rows, key=lambda row: row["step"])), tuple(starts))
