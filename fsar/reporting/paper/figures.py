"""The report's figures for a paper: PDF and SVG as wide as a column, with their fonts in them."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from torch import Tensor

from episodes.files import write_atomically
from fsar.drawing import COSTS, draw_matrix, text_as_it_is
from fsar.reporting.cards import Card, Match
from fsar.reporting.comparison import ComparedRuns
from fsar.reporting.figures import draw_accuracy, draw_loss, draw_sweep
from fsar.reporting.view import Classes, View
from fsar.terminal.shown import shown

COLUMN = 3.3
"""Inches: a column of the two-column styles of CVPR, ICCV and the IEEE is 3.25 to 3.5."""
INKS = {"ink": "#1d2126", "muted": "#5a6169", "rule": "#dddddd", "paper": "#ffffff", "accent": "#0063a0"}
LINE = 36
"""Letters of a line of a name."""
RUNS = ("#0063a0", "#efac1f", "#1d2126", "#cf5500", "#2fa882", "#5a2168")
SHAPES = ("o", "s", "D", "v", "^", "P")
FONTS: dict[Any, Any] = {
    "pdf.fonttype": 42,  # TrueType: what publishers ask for
    "svg.fonttype": "path",
    "svg.hashsalt": "fsar",
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "font.size": 8,
}


def of_view(view: View) -> Iterator[tuple[str, Figure]]:
    """Name and figure of everything that is drawn of one run."""
    if view.curves and (view.curves.validation or "train_accuracy" in view.curves.columns):
        yield "training_accuracy", draw_accuracy(view.curves, INKS)
    if view.curves and "train_loss" in view.curves.columns:
        yield "training_loss", draw_loss(view.curves, INKS)
    for i, sweep in enumerate(view.sweeps, 1):
        for along, figure in draw_sweep(sweep.results, INKS).items():
            yield f"sweep_{i}_by_{along}", figure
    if view.classes:
        yield "classes", draw_classes(view.classes[0])
        yield "confusion", draw_shares(view.classes[0])
    for i, card in enumerate(view.cards, 1):
        for match in card.matches:
            if match.cost and match.shots:
                yield f"episode_{i}_{match.role.split(',')[0].replace(' ', '_')}", draw_match(card, match)


def draw_classes(classes: Classes) -> Figure:
    """Accuracy by class with its Wilson interval; dotted: chance."""
    names = [wrap(name) for name, _ in classes.shares]
    figure = Figure(figsize=(COLUMN, 0.5 + row_height(names, 0.16) * len(names)), layout="constrained")
    axes, places = figure.add_subplot(), np.arange(len(classes.shares))
    values = np.array([100 * share.value for _, share in classes.shares])
    ends = np.array([[100 * end for end in share.ends] for _, share in classes.shares])
    errors = np.abs(ends.T - values)
    axes.errorbar(values, places, xerr=errors, fmt="o", color=INKS["accent"], markersize=3, elinewidth=1)
    axes.axvline(100 / classes.record["data"]["ways"], color=INKS["muted"], linewidth=0.8, linestyle=":")
    axes.set_yticks(places, names, fontsize=7, linespacing=0.9)
    finish(axes, "accuracy, %", (0, 100))
    return figure


def draw_shares(classes: Classes) -> Figure:
    """The confusion matrix in per cent of its rows; columns are numbered as the rows."""
    names, shares = [wrap(name) for name in classes.record["class_names"]], 100 * np.array(classes.confusion)
    figure = Figure(figsize=(COLUMN, 0.7 + row_height(names, 0.135) * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    size = min(6.0, 80 / len(names))
    numbered = [f"{name} {i}" for i, name in enumerate(names, 1)]
    axes.set_yticks(range(len(names)), numbered, fontsize=size, linespacing=0.9)
    axes.set_xticks(range(len(names)), [str(i) for i in range(1, len(names) + 1)], fontsize=size)
    axes.set_xlabel("taken for, % of the row", fontsize=7)
    axes.tick_params(length=0)
    for i, j in zip(*np.nonzero(shares >= 0.5), strict=True):
        ink = "white" if shares[i, j] > 60 else INKS["ink"]
        axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=size, color=ink)
    return figure


def draw_compared(block: ComparedRuns, names: Sequence[str]) -> Figure:
    """Accuracies of several runs on the same episodes, each with its interval, its colour and its shape."""
    labels = [wrap(names[line.number]) for line in block.lines]
    figure = Figure(figsize=(COLUMN, 0.55 + row_height(labels, 0.2) * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    for i, line in enumerate(block.lines):
        record, kind = line.result.record, line.number % len(RUNS)
        half = np.nan_to_num(100 * record["interval_95"])
        axes.errorbar(
            100 * record["accuracy"], i, xerr=half, fmt=SHAPES[kind], color=RUNS[kind], markersize=4, elinewidth=1
        )
    axes.set_yticks(range(len(labels)), labels, linespacing=0.9)
    finish(axes, f"accuracy, %, {block.setting}", None)
    return figure


def finish(axes: Any, label: str, ends: tuple[float, float] | None) -> None:
    """What horizontal plots share: the first row on top, vertical rules, no frame."""
    axes.set_ylim(len(axes.get_yticks()) - 0.5, -0.5)
    axes.set_xlabel(label)
    if ends:
        axes.set_xlim(*ends)
    axes.grid(axis="x", color=INKS["rule"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for edge in ("top", "right", "left"):
        axes.spines[edge].set_visible(False)


def wrap(name: str) -> str:
    """A name in two lines at most, that leaves room for what it names."""
    name = shown(name)
    width = LINE if len(name) <= LINE else min(LINE, len(name) // 2 + 6)
    return "\n".join(textwrap.wrap(name, width, max_lines=2, placeholder=" …"))


def row_height(names: Sequence[str], plain: float) -> float:
    """Inches for each of the names, ``plain`` where all are of one line."""
    return plain * (1.6 if any("\n" in name for name in names) else 1)


def draw_match(card: Card, match: Match) -> Figure:
    """A query and the first support clip of a class along the costs of their frames, with the best paths."""
    assert match.cost is not None
    query, support = (np.stack([unpack(frame) for frame in some]) for some in (card.query, match.shots[0]))
    return draw_matrix(query, support, Tensor(match.cost), COSTS, match.lines)


def unpack(uri: str) -> np.ndarray:
    """The pixels of a data URI."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def fit_column(figure: Figure) -> None:
    """Make a wider figure as wide as a column, its letters with it."""
    width, height = figure.get_size_inches()
    share = COLUMN / width
    figure.set_size_inches(COLUMN, height * share)
    if share < 0.99:
        for text in figure.findobj(Text):
            text.set_fontsize(max(text.get_fontsize() * (share + 0.15), 4))
        for axes in figure.axes:
            axes.xaxis.labelpad = 1


def write(figure: Figure, place: Path) -> list[Path]:
    """Write ``<place>.pdf`` and ``<place>.svg``; the same figure gives the same bytes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fit_column(figure)
    found = []
    for kind, metadata in (("pdf", {"CreationDate": None}), ("svg", {"Date": None})):
        found.append(place.with_name(f"{place.name}.{kind}"))
        with write_atomically(found[-1]) as part:
            figure.savefig(part, format=kind, metadata=metadata, facecolor="none")
    return found


def draw_all(views: Sequence[View], homes: Sequence[Path], blocks: Sequence[ComparedRuns], folder: Path) -> list[Path]:
    """Every figure of the page: those of each run in its home, those of several in a folder."""
    names, found = [view.short for view in views], []
    with matplotlib.rc_context(FONTS), text_as_it_is():
        for view, home in zip(views, homes, strict=True):
            for name, figure in of_view(view):
                found += write(figure, home / name)
        for i, block in enumerate(blocks, 1):
            found += write(draw_compared(block, names), folder / f"comparison_{i}")
    return found
