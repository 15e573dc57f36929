"""What was measured, in ``<run>/robustness``: a table in ``results.json``, and the share of every episode in
``episodes.npz``.

Both are written after every shift. What was measured of other weights, episodes or clips is not gone on from.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.files import write_atomically
from fsar.evaluation.results import read_record, write_json
from fsar.evaluation.shifts.effective import Line, fit_line
from fsar.evaluation.shifts.suite import Right, Row, as_row

OTHERS = ("effective", "baselines", "cross_domain", "notes")
FOLDER, TABLE, EPISODES = "robustness", "results.json", "episodes.npz"
CLEAN = "clean"


def name_row(shift: str, severity: float) -> str:
    """Of an array in ``episodes.npz``.

    Examples:
        >>> name_row("drop", 0.5), name_row("clean", 0)
        ('drop 0.5', 'clean')
    """
    return shift if shift == CLEAN else f"{shift} {severity:g}"


def split_name(name: str) -> tuple[str, float]:
    """Shift and severity of a row's name.

    Examples:
        >>> split_name("drop 0.5"), split_name("clean")
        (('drop', 0.5), ('clean', 0.0))
    """
    shift, _, severity = name.partition(" ")
    return shift, float(severity or 0)


def as_dicts(right: Mapping[str, Right]) -> list[dict[str, Any]]:
    """All rows as plain values, of the arrays by :func:`name_row`."""
    return [as_row(*split_name(name), each, right[CLEAN])._asdict() for name, each in right.items()]


def read_kept(folder: Path, key: Mapping[str, Any]) -> tuple[dict[str, Right], dict[str, Any]]:
    """``{row: (e)}`` of what was measured before under the same key, and what else was found out about it; nothing
    where nothing was, or of another key, or where a file is damaged."""
    record = read_record(folder / TABLE) if (folder / TABLE).is_file() else None
    if record is None or record.get("key") != json.loads(json.dumps(key)) or not (folder / EPISODES).is_file():
        return {}, {}
    try:
        with (folder / EPISODES).open("rb") as file, np.load(file) as arrays:
            right = {name: array.astype(np.float64) for name, array in arrays.items()}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        return {}, {}
    return right, {name: record[name] for name in OTHERS if name in record}


def write_kept(folder: Path, right: Mapping[str, Right], record: Mapping[str, Any]) -> Path:
    """Write both files; gives the table's."""
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / EPISODES) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **right)
    write_json(folder / TABLE, dict(record))
    return folder / TABLE


def read_rows(run: Path) -> tuple[dict[str, Any], list[Row]]:
    """Record and rows of a run that was measured.

    Raises:
        FileNotFoundError: when it was not.
        ValueError: for a damaged file.
    """
    path = run / FOLDER / TABLE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: `fsar robustness {run}` measures it.")
    record = read_record(path)
    try:
        rows = [Row(**row) for row in (record or {})["rows"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: take it away and measure again with `fsar robustness {run}`.") from error
    return record or {}, rows


def line_of(baselines: Mapping[str, Sequence[Row]], shift: str, severity: float) -> Line:
    """The line of one shift through baselines that were measured under it.

    Args:
        baselines: rows of each, by name.
        shift: its name.
        severity: one of its numbers.

    Raises:
        ValueError: a baseline lacks the shift; all have one accuracy.
    """
    clean, shifted = [], []
    for name, rows in baselines.items():
        by_name = {name_row(row.shift, row.severity): row.accuracy for row in rows}
        wanted = name_row(shift, severity)
        if wanted not in by_name:
            raise ValueError(
                f"baseline {name} was not measured under {wanted}: `fsar robustness {name} --shifts {shift} "
                f"--severities {severity:g}` does that."
            )
        clean.append(by_name[CLEAN])
        shifted.append(by_name[wanted])
    return fit_line(clean, shifted)
