"""A picture of how two clips were aligned: their frames along the sides of the frame costs and of the path."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

INK, PATH, COSTS = "#222222", "Blues", "Greys_r"


def strip(figure: Figure, matrix: Axes, clip: np.ndarray, vertical: bool) -> None:
    """The frames of a clip along the left or the top edge of a matrix, each beside its row or column."""
    box = matrix.get_position()
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


def panel(figure: Figure, left: float, values: Tensor, colours: str, title: str) -> Axes:
    """A matrix ``(t u)`` with its numbers written in."""
    t, u = values.shape
    width, height = figure.get_size_inches()
    side = 0.36
    axes = figure.add_axes((left, 0.07, side, side * width / height * t / u))
    image = axes.imshow(values.numpy(), cmap=colours, aspect="auto")
    shades = image.to_rgba(values.numpy())
    for i in range(t):
        for j in range(u):
            ink = INK if shades[i, j, :3].sum() > 1.5 else "white"
            number = f"{float(values[i, j]):.2f}" if values[i, j] >= 0.005 else ""
            axes.text(j, i, number, ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_xticks([])
    axes.set_yticks([])
    for edge in axes.spines.values():
        edge.set_color("#bbbbbb")
    axes.set_xlabel(title, fontsize=10, color=INK, labelpad=8)
    return axes


def draw(query: np.ndarray, support: np.ndarray, cost: Tensor, path: Tensor, title: str) -> Figure:
    """The whole picture, from clips ``(t h w c)`` and matrices ``(t u)``."""
    t, u = cost.shape
    width = 12.0
    figure = Figure(figsize=(width, width * (0.36 * t / u + 0.36 / u) + 1.5), dpi=110, facecolor="white")
    height = figure.get_size_inches()[1]
    panels = (
        panel(figure, 0.09, cost, COSTS, "cost of every pair of frames (dark: alike)"),
        panel(figure, 0.59, path, PATH, "path: how much every pair is matched"),
    )
    for axes in panels:
        strip(figure, axes, query, vertical=True)
        strip(figure, axes, support, vertical=False)
    figure.text(0.5, 1 - 0.25 / height, title, ha="center", va="top", fontsize=12, color=INK)
    figure.text(
        0.5, 1 - 0.52 / height, "rows: query    columns: support", ha="center", va="top", fontsize=9, color="#777777"
    )
    return figure
