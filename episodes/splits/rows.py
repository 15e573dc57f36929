"""A CSV, parquet or JSON file as rows of text, each with the place that messages name."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from episodes.listing import normal

COLUMNS = ("file", "label", "split", "group", "start", "end", "description")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".json", ".jsonl", ".parquet")


class Row(NamedTuple):
    """A row by our names of columns."""

    place: str
    """The file and the row's number, for messages; the header of a CSV is row 1, as spreadsheets show it."""
    values: Mapping[str, str]
    """Texts without spaces around them, composed (NFC); "" for what is not given."""


def read_rows(file: Path, columns: Mapping[str, str | None]) -> list[Row]:
    """The rows of a table.

    Args:
        file: CSV, TSV, parquet, JSON (a list of objects), or JSON Lines, told by its suffix.
        columns: ``{our name: the file's}`` for columns that have names of their own; None, not to read it.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read, has no rows, lacks a column, or a value is neither text nor number.
        ImportError: for a parquet file where pyarrow is not installed.
    """
    if unknown := sorted(set(columns) - set(COLUMNS)):
        raise ValueError(f"Table: columns names {', '.join(unknown)}; there are {', '.join(COLUMNS)}.")
    found = _records(file)
    if not found:
        raise ValueError(f"{file} holds no rows; expected one for each clip.")
    there = list(dict.fromkeys(name for _, record in found for name in record))
    asked = {name: columns.get(name, name) for name in COLUMNS}
    for name, theirs in asked.items():
        if theirs not in there and (name in ("file", "label") or columns.get(name)):
            close = difflib.get_close_matches(str(theirs), there, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(there)}."
            raise ValueError(
                f"{file} has no column '{theirs}'; {hint} Its own name is given as data.benchmark.columns: "
                f"{{{name}: NAME}}."
            )
    kept = {name: theirs for name, theirs in asked.items() if theirs in there}
    return [
        Row(place, {name: _text(record.get(theirs or ""), f"{place}, {theirs}") for name, theirs in kept.items()})
        for place, record in found
    ]


def _records(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{file} is no table; expected a file that ends in {', '.join(SUFFIXES)}.")
    try:
        if suffix in SEPARATORS:
            return list(_lines(file, SEPARATORS[suffix]))
        if suffix == ".parquet":
            return _numbered(file, _read_parquet(file))
        text = file.read_text(encoding="utf-8-sig")
        if suffix == ".jsonl":
            return _numbered(file, [json.loads(line) for line in text.splitlines() if line.strip()])
        return _numbered(file, json.loads(text))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error}): save it as UTF-8.") from error
    except (csv.Error, json.JSONDecodeError) as error:
        raise ValueError(f"{file} cannot be read as {suffix[1:].upper()}: {error}.") from error


def _lines(file: Path, separator: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a CSV; empty lines count, and are passed over."""
    with file.open(newline="", encoding="utf-8-sig") as opened:
        header: Sequence[str] | None = None
        for number, cells in enumerate(csv.reader(opened, delimiter=separator, strict=True), 1):
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if header is None:
                header = cells
                if twice := sorted({name for name in header if name and header.count(name) > 1}):
                    raise ValueError(f"{file} has several columns '{twice[0]}'; rename one.")
            elif len(cells) > len(header):
                raise ValueError(
                    f"{file}, row {number} has {len(cells)} cells, and the header {len(header)}: quote a cell that "
                    f"holds {separator!r}."
                )
            else:
                yield f"{file}, row {number}", dict(zip(header, cells, strict=False))


def _read_parquet(file: Path) -> list[Any]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ImportError(
            f"{file} is parquet, which pyarrow reads and which is not installed: `pip install pyarrow`, or save the "
            "table as CSV."
        ) from error
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}.")
    try:
        rows: list[Any] = parquet.read_table(file).to_pylist()
    except ArrowException as error:
        raise ValueError(f"{file} cannot be read as parquet: {error}") from error
    return rows


def _numbered(file: Path, records: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Objects with their numbers from 1."""
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(f'{file} must hold a list of objects, [{{"file": ..., "label": ...}}, ...].')
    return [(f"{file}, row {number}", record) for number, record in enumerate(records, 1)]


def _text(value: Any, place: str) -> str:
    """A cell as text; a number as it is written, 3 and not 3.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value != value:  # NaN is an empty cell to those who write parquet from data frames
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{place}: expected a text or a number, found {value!r}.")
    return normal(str(value).strip())
