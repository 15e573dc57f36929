"""Ours beside the published: one table, as Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from episodes.files import write_atomically
from episodes.files.locks import held_alone
from episodes.words import pluralise
from fsar.evaluation.cells import to_cell
from fsar.evaluation.marks import marks
from fsar.evaluation.provenance import commit, versions
from fsar.evaluation.results import write_json
from fsar.reporting.paper.tables import escape
from fsar.reproduction.facts import QUOTED
from fsar.reproduction.recipes import Work, cells
from fsar.reproduction.running import Cells

NAMES = ("table.md", "table.csv", "table.json", "table.tex")


@dataclass(frozen=True)
class Row:
    """A number of the table, in %.

    Args:
        method: name of its configuration, with the marks of its result.
        backbone: whose features are compared.
        benchmark: with the name of its lists.
        shots: of the test.
        ours: accuracy; None where there is none yet.
        interval: half of its 95 % interval over episodes.
        episodes: behind it.
        published: None where nothing was published.
        difference: ours less the published.
        comparable: the same lists, clips, backbone and budget; what differs beyond that stands in ``differs``.
        differs: from the published protocol.
        source: of the published number, and how it was come by.
        state: done, failed, or not yet.
        error: why it failed.
        seconds: of each stage of its work.
        recipe: the configurations.
        run: the run folder.
    """

    method: str
    backbone: str
    benchmark: str
    shots: int
    ours: float | None
    interval: float | None
    episodes: int | None
    published: float | None
    difference: float | None
    comparable: bool
    differs: tuple[str, ...]
    source: str
    state: str
    error: str
    seconds: dict[str, float]
    recipe: tuple[str, ...]
    run: str


def make_row(table: Cells, work: Work, shots: int) -> Row:
    """What there is of a number."""
    record, state, facts = table.result(work, shots), table.state(work), work.facts
    published, _ = facts.number(work.backbone, table.asked.benchmark, shots)
    ours = None if record is None else 100 * record["accuracy"]
    changed = [] if record is None else of_data(record)
    mark = f" ({marks(record)})" if record and marks(record) else ""
    failed = record is None and "error" in state
    return Row(
        method=work.method + mark,
        backbone=work.backbone,
        benchmark=table.asked.benchmark,
        shots=shots,
        ours=ours,
        interval=None if record is None else 100 * record["interval_95"],
        episodes=None if record is None else record["episodes"],
        published=published,
        difference=None if ours is None or published is None else ours - published,
        comparable=work.alike and not changed,
        differs=(*changed, *work.differs),
        source=f"{facts.source}, {QUOTED[facts.quoted]}" if published is not None else "",
        state="done" if record else "failed" if failed else "not yet",
        error=f"{state['stage']}: {state['error']}" if failed else "",
        seconds={name: round(value, 1) for name, value in state.get("seconds", {}).items()},
        recipe=work.files,
        run=str(table.folder(work) / "run"),
    )


def of_data(record: dict[str, Any]) -> list[str]:
    """How the clips of a result differ from the benchmark's, from what its record says of the data."""
    data, said = record["data"], []
    if data.get("list_changes"):
        said.append("lists are not the published ones")
    found = data.get("coverage", {})
    lacking = sum(split["listed"] - split["found"] for split in found.values())
    if lacking:
        said.append(f"{lacking:,} of {sum(split['listed'] for split in found.values()):,} videos are missing")
    if data.get("videos_left_out"):
        said.append(f"{pluralise(len(data['videos_left_out']), 'test video')} could not be read")
    return said


def write_table(table: Cells, works: Sequence[Work]) -> list[Row]:
    """Write all forms of the table to its folder; of processes that end at once the last one writes all."""
    with held_alone(table.out):
        rows = [make_row(table, work, shots) for work, shots in cells(works)]
        texts = {"table.md": as_markdown(rows), "table.tex": as_latex(rows)}
        for name, text in texts.items():
            with write_atomically(table.out / name) as part:
                part.write_text(text, encoding="utf-8")
        with write_atomically(table.out / "table.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
            write_csv(csv.writer(file), rows)
        about = {"commit": commit(), "versions": versions(), "date": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        write_json(table.out / "table.json", {"rows": [asdict(row) for row in rows], **about})
    return rows


def write_csv(writer: Any, rows: Sequence[Row]) -> None:
    """A header and a line for each number; lists are joined by semicolons."""
    names = [name for name in asdict(rows[0]) if name != "seconds"]
    writer.writerow([*names, "seconds"])
    for row in rows:
        cells_of = [getattr(row, name) for name in names]
        joined = [to_cell("; ".join(cell)) if isinstance(cell, tuple) else cell for cell in cells_of]
        writer.writerow([*("" if cell is None else cell for cell in joined), round(sum(row.seconds.values()), 1)])


def words(row: Row) -> tuple[str, str, str]:
    """Ours with its interval, the published number, and the difference: in brackets where it is none of one thing."""
    ours = row.state if row.ours is None else f"{row.ours:.1f} ± {row.interval:.1f}"
    published = "–" if row.published is None else f"{row.published:.1f}"
    difference = "–" if row.difference is None else f"{row.difference:+.1f}"
    return ours, published, difference if row.comparable or row.difference is None else f"({difference})"


def as_markdown(rows: Sequence[Row]) -> str:
    """The table, then what differs by number, what failed, and where the published numbers come from."""
    notes = {said: str(number) for number, said in enumerate(dict.fromkeys(d for row in rows for d in row.differs), 1)}
    head = ("method", "encoder", "shots", "ours", "published", "difference", "differs")
    body = []
    for row in rows:
        what = (f"{row.method}", row.backbone, str(row.shots))
        body.append((*what, *words(row), ", ".join(notes[said] for said in row.differs) or "–"))
    lines = [f"# {rows[0].benchmark}, 5-way", "", *_aligned([head, *body]), ""]
    lines += ["Accuracy in % with its 95 % interval over episodes. Published numbers are quoted and have no interval."]
    if any(not row.comparable and row.difference is not None for row in rows):
        lines += ["A difference in brackets is between experiments that are not the same; see what differs."]
    lines += ["", "What differs from the published protocol:", "", *(f"{n}. {said}" for said, n in notes.items())]
    lines += [f"\n{row.method}, {row.shots}-shot failed. {row.error}" for row in rows if row.state == "failed"]
    sources = dict.fromkeys(f"* {row.method.split(' ')[0]}: {row.source}" for row in rows if row.source)
    return "\n".join([*lines, "", *(["Published numbers:", "", *sources] if sources else []), ""])


def as_latex(rows: Sequence[Row]) -> str:
    """The same numbers as a ``tabular`` of booktabs."""
    lines = [
        r"\begin{tabular}{llrrrr}",
        r"\toprule",
        r"method & encoder & shots & ours & published & diff. \\",
        r"\midrule",
    ]
    for row in rows:
        ours, published, difference = words(row)
        plain = (row.method, row.backbone, str(row.shots), ours, published, difference)
        cells_of = [escape(cell).replace("–", "--") for cell in plain]
        lines.append(" & ".join(cells_of) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
