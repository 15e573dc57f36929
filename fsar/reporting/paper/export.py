"""Every figure and every table of a report, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from episodes.files import write_atomically
from fsar.reporting.comparison import ComparedRuns
from fsar.reporting.paper import figures, tables
from fsar.reporting.paper.tables import Table
from fsar.reporting.view import View


def write_tables(made: Sequence[Table], folder: Path) -> list[Path]:
    """Each as ``<name>.tex`` and ``<name>.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for table in made:
        for kind, text in (("tex", table.latex()), ("csv", table.csv())):
            found.append(folder / f"{table.name}.{kind}")
            with write_atomically(found[-1]) as part:
                part.write_text(text, encoding="utf-8")
    return found


def export(views: Sequence[View], blocks: Sequence[ComparedRuns], folder: Path) -> list[Path]:
    """All that the page shows, in a folder for each run when there are several."""
    names = [view.short for view in views]
    homes = [folder / name.replace("/", "_") if len(views) > 1 else folder for name in names]
    found = write_tables([tables.compared(block, names, i) for i, block in enumerate(blocks, 1)], folder)
    for view, home in zip(views, homes, strict=True):
        found += write_tables(tables.of_view(view), home)
    return found + figures.draw_all(views, homes, blocks, folder)
