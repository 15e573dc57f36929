"""A picture of how two clips were aligned: their frames along the sides of the frame costs and of the path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from fsar.alignment.maps import Cells, digits, frames_of_a_step, name_steps
from fsar.terminal.shown import shown

INK, PATH, COSTS, LINE = "#222222", "Blues", "Greys_r", "#c2410c"
LINES: Mapping[str, Any] = {"solid": "-", "dashed": (0, (4, 2))}
TINT, STRONGEST = np.array([255, 106, 0]), 0.7
"""The colour of heat over a frame, and how much of it the hottest patch has."""

EAST_ASIAN = ("CJK", "Source Han", "WenQuanYi", "Droid Sans Fallback", "IPA", "Takao", "Nanum", "PingFang", "Hiragino",
    "Apple SD Gothic", "YaHei", "SimHei", "SimSun", "Yu Gothic", "MS Gothic", "Malgun", "Arial Unicode")  # fmt: skip


@contextmanager
def text_as_it_is() -> Iterator[None]:
    """Within it, and in a function that it decorates, text that the usual font lacks is set in what is installed for
    Chinese, Japanese and Korean, and dollars are dollars, not the ends of a formula."""
    others = [name for name in font_manager.get_font_names() if any(part in name for part in EAST_ASIAN)]
    family = [*rcParams["font.family"], *sorted(others)]
    with rc_context({"font.family": family, "text.parse_math": False}):
        yield


def strip(figure: Figure, matrix: Axes, clip: np.ndarray, count: int, vertical: bool) -> None:
    """The frames ``(t h w c)`` of a clip along the left or the top edge of a matrix, each beside its row or column; of
    those that one of ``count`` steps stands for the middle one, with the numbers of all."""
    box = matrix.get_position()
    names = name_steps(len(clip), count) if len(clip) != count else []
    clip = show_steps(clip, count)
    count = len(clip)
    step = (box.height if vertical else box.width) / count
    width, height = figure.get_size_inches()
    for i, frame in enumerate(clip):
        if vertical:
            across = step * height / width
            place = (box.x0 - across - 0.006, box.y1 - (i + 1) * step, across, step)
        else:
            up = step * width / height
            place = (box.x0 + i * step, box.y1 + 0.008, step, up)
        axes = figure.add_axes(
            (place[0] + place[2] * 0.03, place[1] + place[3] * 0.03, place[2] * 0.94, place[3] * 0.94)
        )
        side = min(frame.shape[:2])
        top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
        axes.imshow(frame[top : top + side, left : left + side])
        axes.set_axis_off()
        if len(names) == count:
            style = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
            axes.text(0.04, 0.06, names[i], transform=axes.transAxes, fontsize=6, color=INK, bbox=style)


def show_steps(clip: np.ndarray, steps: int) -> np.ndarray:
    """Of the frames ``(t h w c)`` that each of so many steps stands for, the middle one; else all."""
    share = frames_of_a_step(len(clip), steps)
    return clip[share // 2 :: share] if share > 1 else clip


def panel(
    figure: Figure, left: float, values: Tensor, colours: str, title: str, side: float = 0.36, bottom: float = 0.07
) -> Axes:
    """A matrix ``(t u)`` with its numbers written in; place and ``side`` (its width) in shares of the figure."""
    t, u = values.shape
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left, bottom, side, side * width / height * t / u))
    image = axes.imshow(values.numpy(), cmap=colours, aspect="auto")
    shades, places = image.to_rgba(values.numpy()), 2 if colours == PATH else digits(values)
    for i in range(t):
        for j in range(u):
            ink = INK if shades[i, j, :3].sum() > 1.5 else "white"
            number = f"{float(values[i, j]):.{places}f}" if colours != PATH or values[i, j] >= 0.005 else ""
            axes.text(j, i, number, ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_xticks([])
    axes.set_yticks([])
    for edge in axes.spines.values():
        edge.set_color("#bbbbbb")
    axes.set_xlabel(title, fontsize=10, color=INK, labelpad=8)
    return axes


def trace(axes: Axes, paths: Mapping[str, Cells]) -> None:
    """Every path as a thin line of its own kind over its matrix."""
    for cells, style in zip(paths.values(), LINES.values(), strict=False):
        rows, columns = zip(*cells, strict=True)
        axes.plot(columns, rows, color=LINE, linewidth=1.4, linestyle=style)


def name_lines(paths: Mapping[str, Cells]) -> str:
    """What the lines of :func:`trace` are, in words."""
    return "; ".join(f"{kind}: best path, {visits}" for visits, kind in zip(paths, LINES, strict=False))


@text_as_it_is()
def draw(
    query: np.ndarray,
    support: np.ndarray,
    cost: Tensor,
    path: Tensor,
    title: str,
    paths: Mapping[str, Cells] | None = None,
) -> Figure:
    """The whole picture.

    Args:
        query: ``(t h w c)``.
        support: ``(u h w c)``.
        cost: ``(t u)``.
        path: ``(t u)``, soft if the metric is.
        title: above it all.
        paths: of an :class:`fsar.alignment.maps.FrameMap`: drawn as lines. Without any the dots stand alone.
    """
    t, u = cost.shape
    share = frames_of_a_step(len(query), t)
    width = 12.0
    figure = Figure(figsize=(width, width * (0.36 * t / u + 0.36 / u) + 1.5), dpi=110, facecolor="white")
    height = figure.get_size_inches()[1]
    panels = (
        panel(figure, 0.09, cost, COSTS, "cost of every pair of frames (dark: alike)"),
        panel(figure, 0.59, path, PATH, "path: how much every pair is matched" + adding(path)),
    )
    if paths:
        panels[1].set_xlabel(f"{panels[1].get_xlabel()}\n{name_lines(paths)}", fontsize=9)
        trace(panels[1], paths)
    for axes in panels:
        strip(figure, axes, query, t, vertical=True)
        strip(figure, axes, support, u, vertical=False)
    figure.text(0.5, 1 - 0.25 / height, shown(title), ha="center", va="top", fontsize=12, color=INK)
    sides = "rows: query    columns: support" + (f"    a step stands for {share} frames" if share > 1 else "")
    figure.text(0.5, 1 - 0.52 / height, sides, ha="center", va="top", fontsize=9, color="#777777")
    return figure


def adding(path: Tensor) -> str:
    """What to add to the words on a path ``(t u)`` that is the sum of two."""
    return " (sum of both directions, at most 2)" if float(path.max()) > 1 + 1e-4 else ""


def draw_matrix(
    query: np.ndarray, support: np.ndarray, values: Tensor, colours: str, paths: Mapping[str, Cells] | None = None
) -> Figure:
    """One matrix ``(t u)`` with the frames of the clips ``(t h w c)`` along its sides and nothing around it, on a
    transparent ground: for pages that are narrow, or dark. The ``paths``, if any, are lines over it."""
    t, u = values.shape
    inch, margin = 0.54, 0.06  # side of a cell, and of the gap around it in cells
    across, up = u + 1 + 2 * margin, t + 1 + 2 * margin
    figure = Figure(figsize=(inch * across, inch * up), dpi=150, facecolor="none")
    axes = panel(figure, (1 + margin) / across, values, colours, "", u / across, margin / up)
    strip(figure, axes, query, t, vertical=True)
    strip(figure, axes, support, u, vertical=False)
    trace(axes, paths or {})
    return figure


@text_as_it_is()
def draw_confusion(counts: Sequence[Sequence[int]], names: Sequence[str], named: int = 24) -> Figure:
    """A confusion matrix in per cent of its rows, ``counts[truth][prediction]``.

    Args:
        counts: ``(C C)``; a class that did not occur stays blank.
        names: of the ``C`` classes.
        named: with more classes than this, names and numbers are left out.
    """
    count = np.asarray(counts, dtype=np.float64)
    share = 100 * count / np.maximum(count.sum(1, keepdims=True), 1)
    labelled = len(names) <= named
    side = 4.2 + 0.4 * len(names) if labelled else 8.0
    figure = Figure(figsize=(side, side), dpi=100, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(np.ma.masked_equal(share, 0), cmap=PATH, vmin=0, vmax=100)
    axes.set_xlabel("taken for (% of the true class)", color=INK)
    axes.set_ylabel("true class", color=INK)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    for edge in axes.spines.values():
        edge.set_color("#bbbbbb")
    if not labelled:
        axes.set_xticks([])
        axes.set_yticks([])
        figure.colorbar(image, ax=axes, shrink=0.6)
        return figure
    short = [name if len(name) <= 44 else f"{name[:43]}…" for name in map(shown, names)]
    axes.set_xticks(range(len(names)), short, rotation=90)
    axes.set_yticks(range(len(names)), short)
    for i, j in zip(*np.nonzero(count), strict=True):
        ink = "white" if share[i, j] > 60 else INK
        axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=9, color=ink)
    return figure


def tint(frames: np.ndarray, heat: Tensor) -> np.ndarray:
    """Frames ``(t h w c)`` with heat ``(t rows columns)``, 0 to 1, over them."""
    large = interpolate(heat[:, None].float(), frames.shape[1:3], mode="bilinear")[:, 0, :, :, None]
    share = STRONGEST * large.numpy()
    return (frames * (1 - share) + TINT * share).round().astype(np.uint8)


@text_as_it_is()
def draw_heat(frames: np.ndarray, heat: Tensor, title: str, below: str) -> Figure:
    """The frames ``(t h w c)`` of a clip, and under them the same with heat ``(t rows columns)``, 0 to 1, over them.

    Args:
        frames: uint8.
        heat: see :func:`tint`.
        title: above them.
        below: what the heat is, beside the bar of its colour.
    """
    t, (height, width) = len(frames), frames.shape[1:3]
    inch = 1.3
    figure = Figure(figsize=(inch * t, 2 * inch * height / width + 0.9), dpi=110, facecolor="white")
    rows = figure.subplots(2, t, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    up = 1 / figure.get_size_inches()[1]
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.45 * up, top=1 - 0.45 * up)
    for axes, picture in zip(rows.flat, [*frames, *tint(frames, heat)], strict=True):
        axes.imshow(picture)
        axes.set_axis_off()
    for i, axes in enumerate(rows[0]):
        style = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
        axes.text(0.04, 0.06, str(i + 1), transform=axes.transAxes, fontsize=8, color=INK, bbox=style)
    figure.text(0.5, 1 - 0.1 * up, shown(title), ha="center", va="top", fontsize=11, color=INK)
    bar = figure.add_axes((0.01, 0.14 * up, 0.12, 0.16 * up))
    shares = STRONGEST * np.linspace(0, 1, 64)[None, :, None]
    bar.imshow((255 * (1 - shares) + TINT * shares).round().astype(np.uint8), aspect="auto")
    bar.set_axis_off()
    figure.text(0.14, 0.22 * up, f"0 to 1    {shown(below)}", ha="left", va="center", fontsize=9, color="#555555")
    return figure
