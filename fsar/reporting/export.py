"""What a paper takes from the report: every figure as PDF and SVG, every table as LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsar.reporting import paper_figures, paper_tables
from fsar.reporting.comparison import ComparedRuns
from fsar.reporting.paper_tables import Table
from fsar.reporting.view import View


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Each as ``<name>.tex`` and ``<name>.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for table in tables:
        for kind, text in (("tex", table.latex()), ("csv", table.csv())):
            found.append(folder / f"{table.name}.{kind}")
            found[-1].write_text(text, encoding="utf-8")
    return found


def export(views: Sequence[View], blocks: Sequence[ComparedRuns], folder: Path) -> list[Path]:
    """All that the page shows, in a folder for each run when there are several."""
    names = [view.short for view in views]
    found = write_tables([paper_tables.compared(block, names, i) for i, block in enumerate(blocks, 1)], folder)
    for view in views:
        inner = folder / view.short.replace("/", "_") if len(views) > 1 else folder
        found += write_tables(paper_tables.of_view(view), inner)
    return found + paper_figures.draw_all(views, blocks, folder)
