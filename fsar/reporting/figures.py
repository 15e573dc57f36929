"""Curves as inline SVG that takes its colours and its font from the page, so that one figure serves light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fsar.evaluation.comparing.comparison import Result
from fsar.reporting.curves import Curves
from fsar.reporting.runs import size
from fsar.terminal.shown import shown

ROLES = {"ink": "#010101", "muted": "#020202", "rule": "#030303", "paper": "#040404", "accent": "#050505"}
"""Stand-ins that are replaced by the page's ``var(--role)``."""
Colours = Mapping[str, str]


def svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as an element of a page.

    Args:
        figure: drawn in the colours of :data:`ROLES`.
        prefix: of its ids, which must differ between the figures of a page.
        label: what it shows, for those who cannot see it.
    """
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()[out.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text).replace("url(#", f"url(#{prefix}-")
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{prefix}-', text)
    for role, colour in ROLES.items():
        text = text.replace(colour, f"var(--{role})")
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    return re.sub(r"<svg[^>]*>", f'<svg class="plot" role="img" aria-label="{label}" {box[0]}>', text, count=1)


def axes(title: str, x_label: str, colours: Colours) -> tuple[Figure, Axes]:
    """An empty figure in the page's manner: the axis's name above it, horizontal rules only."""
    figure = Figure(figsize=(5.6, 3.5))
    found = figure.add_axes((0.085, 0.145, 0.74, 0.74))
    found.set_title(title, loc="left", fontsize=10, color=colours["muted"], pad=10, x=-0.1)
    found.set_xlabel(x_label, fontsize=10, color=colours["muted"])
    found.grid(axis="y", color=colours["rule"], linewidth=0.8)
    found.set_axisbelow(True)
    found.tick_params(length=0, labelsize=9.5, labelcolor=colours["muted"])
    for edge in ("top", "left", "right"):
        found.spines[edge].set_visible(False)
    found.spines["bottom"].set_color(colours["muted"])
    return figure, found


def name_lines(found: Axes, lines: Sequence[tuple[str, float, str]], gap: float = 0.068) -> None:
    """Write each line's (name, last value, colour) at its right end, moved apart where they would touch."""
    low, high = found.get_ylim()
    order = sorted(range(len(lines)), key=lambda i: lines[i][1])
    places = [(lines[i][1] - low) / (high - low) for i in order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    above = max(0.0, places[-1] - 1.0)
    for i in reversed(range(len(places))):
        limit = places[i + 1] - gap if i + 1 < len(places) else 1.0
        places[i] = min(places[i], limit) if above else places[i]
    for i, place in zip(order, places, strict=True):
        name, _, colour = lines[i]
        text = found.text(1.02, place, shown(name), transform=found.transAxes, color=colour, fontsize=10, va="center")
        text.set_parse_math(False)


def smooth(values: np.ndarray, count: int) -> np.ndarray:
    """Mean of the last ``count`` values (fewer at the start), at every place."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - count, 0)
    return (sums[end] - sums[start]) / (end - start)


def training_accuracy(curves: Curves, prefix: str) -> str:
    """:func:`draw_accuracy` for the page."""
    label = "Accuracy on training and validation episodes by optimiser step; the numbers follow."
    return svg(draw_accuracy(curves), prefix, label)


def draw_accuracy(curves: Curves, colours: Colours = ROLES) -> Figure:
    """Accuracy of the training episodes, and of the validation episodes with their interval."""
    figure, found = axes("accuracy, %", "optimiser step", colours)
    lines = []
    if "train_accuracy" in curves.columns:
        step, value = curves.series("train_accuracy")
        count = window(value)
        found.plot(step, 100 * value, ".", markersize=dot(value), color=colours["muted"], alpha=0.45, markeredgewidth=0)
        found.plot(step, 100 * smooth(value, count), color=colours["muted"], linewidth=1.4)
        lines.append(("training", 100 * float(smooth(value, count)[-1]), colours["muted"]))
    if curves.validation:
        step, value, interval = (np.array(x) for x in zip(*curves.validation, strict=True))
        found.errorbar(
            step, 100 * value, 100 * np.nan_to_num(interval), color=colours["accent"], linewidth=2, marker="o",
            markersize=4.5, elinewidth=1.2,
        )  # fmt: skip
        lines.append(("validation", 100 * float(value[-1]), colours["accent"]))
        best = int(value.argmax())
        found.plot(
            step[best], 100 * value[best], "o", markersize=10, markerfacecolor="none", markeredgecolor=colours["accent"]
        )
    resumed(found, curves, colours)
    name_lines(found, lines)
    return figure


def training_loss(curves: Curves, prefix: str) -> str:
    """:func:`draw_loss` for the page."""
    return svg(draw_loss(curves), prefix, "Training loss by optimiser step.")


def draw_loss(curves: Curves, colours: Colours = ROLES) -> Figure:
    """The minimised loss, and its parts where they differ from it."""
    figure, found = axes("loss", "optimiser step", colours)
    lines = []
    step, total = curves.series("train_loss")
    found.plot(step, total, ".", markersize=dot(total), color=colours["accent"], alpha=0.4, markeredgewidth=0)
    parts = [
        name for name in curves.columns if name.startswith("train_") and name.endswith("_loss") and name != "train_loss"
    ]
    for name in ["train_loss", *parts]:
        step, value = curves.series(name)
        if name in parts and (np.array_equal(value, total) or value.mean() > total.mean()):
            continue  # the same again, or no summand as it stands
        colour = colours["accent"] if name == "train_loss" else colours["muted"]
        mean = smooth(value, window(value))
        found.plot(step, mean, color=colour, linewidth=2 if name == "train_loss" else 1.4)
        label = "training" if name == "train_loss" else name[len("train_") : -len("_loss")].replace("_", "-")
        lines.append((label, float(mean[-1]), colour))
    found.set_ylim(bottom=min(0.0, found.get_ylim()[0]))
    resumed(found, curves, colours)
    name_lines(found, lines)
    return figure


def window(values: np.ndarray) -> int:
    """How many logged values the drawn mean is over."""
    return max(1, len(values) // 10)


def dot(values: np.ndarray) -> float:
    """The size of their dots: larger where the line runs through each of them and would hide it."""
    return 3.5 if window(values) > 1 else 13.0


def resumed(found: Axes, curves: Curves, colours: Colours) -> None:
    """A dotted line wherever the run was taken up again."""
    for step in curves.resumed:
        found.axvline(step, color=colours["muted"], linewidth=1, linestyle=(0, (1, 3)))


def sweep_curves(group: Sequence[Result], prefix: str) -> list[str]:
    """:func:`draw_sweep` for the page."""
    return [
        svg(figure, f"{prefix}-{along}", f"Accuracy by number of {along}; the table that follows holds the numbers.")
        for along, figure in draw_sweep(group).items()
    ]


def draw_sweep(group: Sequence[Result], colours: Colours = ROLES) -> dict[str, Figure]:
    """Accuracy by shots, a line for each number of ways, and by ways, a line for each number of shots."""
    grid = {size(result.record): result.record for result in group}
    pictures = {}
    for axis, along, across in ((1, "shots", "way"), (0, "ways", "shot")):
        if len({key[axis] for key in grid}) < 2:
            continue
        about = "labelled clips of each class" if axis else "classes"
        figure, found = axes("accuracy, %", f"{along} ({about})", colours)
        lines, others = [], sorted({key[1 - axis] for key in grid})
        for number, other in enumerate(others):
            some = sorted((key[axis], record) for key, record in grid.items() if key[1 - axis] == other)
            x = np.array([key for key, _ in some])
            y, half = (100 * np.array([record[k] for _, record in some]) for k in ("accuracy", "interval_95"))
            strength = 1.0 if len(others) == 1 else 0.4 + 0.6 * number / (len(others) - 1)
            half = np.nan_to_num(half)
            found.errorbar(
                x, y, half, color=colours["accent"], alpha=strength, linewidth=1.8, marker="o", markersize=4,
                elinewidth=1.2,
            )  # fmt: skip
            lines.append((f"{other}-{across}", float(y[-1]), colours["ink"]))
        ticks = sorted({key[axis] for key in grid})
        found.set_xticks(ticks)
        if axis == 0:
            found.plot(ticks, [100 / n for n in ticks], color=colours["muted"], linewidth=1.2, linestyle=(0, (1, 3)))
            lines.append(("chance", 100 / ticks[-1], colours["muted"]))
        name_lines(found, lines)
        pictures[along] = figure
    return pictures


def encoder_dots(rows: Sequence[tuple[str, Sequence[Result]]], prefix: str) -> str:
    """Accuracy over each of several encoders, a dot for each setting; diamonds are the class names alone.

    Args:
        rows: name and results of each encoder, every one of the same settings in the same order.
        prefix: of the figure's ids.
    """
    figure, found = axes("", "accuracy, %", ROLES)
    figure.set_size_inches(5.6, 1.1 + 0.4 * len(rows))
    found.set_position((0.3, 0.55 / figure.get_figheight(), 0.66, 1 - 0.75 / figure.get_figheight()))
    found.grid(axis="x", color=ROLES["rule"], linewidth=0.8)
    settings = max(len(results) for _, results in rows)
    for row, (_, results) in enumerate(rows):
        for number, result in enumerate(results):
            record, strength = result.record, 0.4 + 0.6 * (number + 1) / settings
            place = row + 0.3 * ((number + 0.5) / settings - 0.5) * (settings > 1)
            half = 100 * float(np.nan_to_num(record["interval_95"]))
            found.errorbar(
                100 * record["accuracy"],
                place,
                xerr=half,
                fmt="o",
                color=ROLES["accent"],
                alpha=strength,
                markersize=5,
            )
            if "zero_shot_accuracy" in record:
                found.plot(
                    100 * record["zero_shot_accuracy"], place, "D", markersize=4.5, color=ROLES["muted"], mfc="none"
                )
    found.set_yticks(range(len(rows)), [shown(name) for name, _ in rows], parse_math=False)
    found.set_ylim(len(rows) - 0.5, -0.5)
    return svg(figure, prefix, "Accuracy over each encoder; the tables that follow hold the numbers.")
