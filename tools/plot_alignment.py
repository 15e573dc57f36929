"""Draw how a metric aligns two clips: frame costs on the left, the (soft) path on the right.

    python tools/plot_alignment.py query.mp4 support.mp4 --out path.png
        [--metric fsar.alignment.OTAM] [--init '{"temperature": 0.05}'] [--frames 8]
        [--encoder '{"model": "resnet50", "weights": "resnet50.pth"}']

    python tools/plot_alignment.py query.mp4 support.mp4 --out path.png --run runs/demo

With ``--run``, features and metric are those of a trained run; the support's class is its folder's name.
``--encoder`` holds the arguments of ``fsar.clip.ImageEncoder``; without it a frame's feature is its 16 x 16 thumbnail.
The path is the gradient of the metric's cost; a metric in both directions adds two paths.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
import torch
from check_alignment import build
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import fsar
from episodes.frames import SegmentCentre
from episodes.splits import Split
from episodes.video import probe, read_frames
from fsar.alignment import Alignment, CostAlignment

matplotlib.use("Agg")
INK, PATH, COSTS = "#222222", "Blues", "Greys_r"


def frames_of(path: str, count: int) -> np.ndarray:
    """``count`` frames, one from the middle of each of ``count`` equal parts of the video: uint8 ``(t h w c)``."""
    return read_frames(path, SegmentCentre()(probe(path).frames, count))


def features_of(clip: np.ndarray, encoder: dict[str, object] | None) -> Tensor:
    """Frame features ``(t d)`` of a clip ``(t h w c)``."""
    pixels = torch.from_numpy(clip).movedim(-1, -3)
    if encoder is None:
        small = torch.nn.functional.interpolate(pixels.float(), (16, 16), mode="area").flatten(1)
        return small - small.mean(-1, keepdim=True)
    from fsar.clip.image_encoder import ImageEncoder

    network = ImageEncoder(**encoder)  # type: ignore[arg-type]
    side = network.image_size
    small = torch.nn.functional.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True)
    with torch.no_grad():
        return network(small.round().clamp(0, 255).to(torch.uint8))


def trained(run: str, clips: tuple[str, str]) -> tuple[Alignment, Tensor, Tensor]:
    """Metric of a run, and the features ``(t d)`` that it compares of the query and of the support."""
    model = fsar.load(run)
    method = model.learner.method
    name = Path(clips[1]).absolute().parent.name.replace("_", " ")
    paths = tuple(str(Path(clip).absolute()) for clip in clips)
    source = model.data.clips(Split("plot", (name,), paths, (0, 0), Path()))
    with torch.no_grad():
        query, support = (method.encode(source.clip(i)) for i in (0, 1))
        text = method.class_text((name,))
        parts = method.query_parts(query), method.support_parts(support, None if text is None else text[0])
    return method.alignment, parts[0]["frames"], parts[1]["frames"]  # type: ignore[return-value]


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
    for i in range(t):
        for j in range(u):
            shade = image.cmap(image.norm(float(values[i, j])))
            ink = INK if sum(shade[:3]) > 1.5 else "white"
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


def main() -> None:
    """Parse the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("query")
    parser.add_argument("support")
    parser.add_argument("--out", type=Path, required=True, help="the PNG (or SVG, PDF) to write")
    parser.add_argument("--metric", default="fsar.alignment.OTAM", help="module.Class of a metric on frame costs")
    parser.add_argument("--init", type=json.loads, default={}, help="its arguments as JSON")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--encoder", type=json.loads, help="arguments of fsar.clip.ImageEncoder as JSON")
    parser.add_argument("--run", help="a run folder: its trained features and its metric")
    arguments = parser.parse_args()
    features: list[Tensor] = []
    if arguments.run:
        metric, *features = trained(arguments.run, (arguments.query, arguments.support))
    else:
        metric = build(arguments.metric, arguments.init)
    if not isinstance(metric, CostAlignment):
        parser.error(f"{type(metric).__name__} has no frame costs, so no path to draw; take a CostAlignment.")
    clips = [frames_of(path, arguments.frames) for path in (arguments.query, arguments.support)]
    query, support = (x[None] for x in features or [features_of(clip, arguments.encoder) for clip in clips])
    cost, path = metric.cost(query, support)[0, 0], metric.path(query, support)[0, 0]
    value = -float(metric(query, support))
    names = " and ".join(f"{Path(p).parent.name[:40]}/{Path(p).stem}" for p in (arguments.query, arguments.support))
    figure = draw(*clips, cost, path, f"{type(metric).__name__}, {names}: cost {value:.2f}")
    figure.savefig(arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
