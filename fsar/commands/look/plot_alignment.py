"""Draw how a metric aligns two clips: frame costs on the left, the (soft) path on the right.

    fsar plot-alignment query.mp4 support.mp4 --out path.png
        [--metric fsar.alignment.OTAM] [--init '{"temperature": 0.05}'] [--frames 8]
        [--encoder '{"model": "resnet50", "weights": "resnet50.pth"}']

    fsar plot-alignment query.mp4 support.mp4 --out path.png --run runs/demo

With ``--run``, features and metric are those of a trained run; the support's class is its folder's name.
``--encoder`` holds the arguments of an ``ImageEncoder``; without it a frame's feature is its 16 x 16 thumbnail.
The path is the gradient of the metric's cost; a metric in both directions adds two paths. The best ordered path of each
direction is a thin line over it, where the order of the frames matters.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import fsar
from episodes.files import write_atomically
from episodes.frames import SegmentCentre
from episodes.splits import Split
from episodes.video import probe, read_frames
from fsar.alignment import Alignment, CostAlignment
from fsar.alignment.maps import alignment_maps
from fsar.commands.look.check_alignment import build, json_text
from fsar.drawing import draw
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file


def frames_of(path: str, count: int) -> np.ndarray:
    """``count`` frames, one from the middle of each of ``count`` equal parts of the video: uint8 ``(t h w c)``."""
    return read_frames(path, SegmentCentre()(probe(path).frames, count))


def features_of(clip: np.ndarray, encoder: dict[str, object] | None) -> Tensor:
    """Frame features ``(t d)`` of a clip ``(t h w c)``."""
    pixels = torch.from_numpy(clip).movedim(-1, -3)
    if encoder is None:
        small = torch.nn.functional.interpolate(pixels.float(), (16, 16), mode="area").flatten(1)
        return small - small.mean(-1, keepdim=True)
    from fsar.encoders.image import ImageEncoder

    network = ImageEncoder(**encoder)  # type: ignore[arg-type]
    side = network.image_size
    small = torch.nn.functional.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True)
    with torch.no_grad():
        return network(small.round().clamp(0, 255).to(torch.uint8))


class Trained(NamedTuple):
    """What a run makes of a query and of a support clip."""

    model: fsar.Predictor
    metric: Alignment
    features: tuple[Tensor, Tensor]
    """``(t d)`` of the query and of the support."""


def trained(run: str, clips: tuple[str, str]) -> Trained:
    """Metric of a run, and the features that it compares."""
    model = fsar.load(run)
    method = model.learner.method
    name = Path(clips[1]).absolute().parent.name.replace("_", " ")
    paths = tuple(str(Path(clip).absolute()) for clip in clips)
    source = model.data.clips(Split("plot", (name,), paths, (0, 0), Path()))
    with torch.no_grad():
        query, support = (method.encode(source.clip(i)) for i in (0, 1))
        text = method.class_text((name,))
        parts = method.query_parts(query), method.support_parts(support, text[0])
    return Trained(model, method.alignment, (parts[0]["frames"], parts[1]["frames"]))  # type: ignore[arg-type]


def take_options(parser: Options, args: list[str]) -> Namespace:
    """What both commands that show a pair of clips are asked; options that a run decides are refused beside it."""
    parser.add_argument("query")
    parser.add_argument("support")
    parser.add_argument("--metric", help="module.Class of a metric on frame costs (default: fsar.alignment.OTAM)")
    parser.add_argument("--init", type=json_text, help="its arguments as JSON")
    parser.add_argument("--frames", type=int, help="of each clip (default: 8)")
    parser.add_argument("--encoder", type=json_text, help="arguments of fsar.encoders.ImageEncoder as JSON")
    parser.add_argument("--run", help="a run folder: its trained features and its metric")
    found = parser.parse_args(args)
    settled = [f"--{name}" for name in ("metric", "init", "frames", "encoder") if getattr(found, name) is not None]
    if found.run and settled:
        parser.error(
            f"{' and '.join(settled)} and --run: a run has its own metric, features and frames; leave one out."
        )
    if found.frames is not None and found.frames < 1:
        parser.error(f"--frames must be at least 1, found {found.frames}.")
    usual = {"metric": "fsar.alignment.OTAM", "init": {}, "frames": 8}
    return Namespace(**vars(found) | {k: v for k, v in usual.items() if getattr(found, k) is None})


@one_message(program="fsar plot-alignment")
def main(args: list[str]) -> None:
    """Parse the command line and write the picture."""
    parser = Options(__doc__, prog="fsar plot-alignment")
    parser.add_argument("--out", type=output_file, required=True, help="the PNG (or SVG, PDF) to write")
    own = take_options(parser, args)
    pair = (own.query, own.support)
    run = trained(own.run, pair) if own.run else None
    metric = run.metric if run else build(own.metric, own.init)
    if not isinstance(metric, CostAlignment):
        parser.error(f"{type(metric).__name__} has no frame costs, so no path to draw; take a CostAlignment.")
    clips = [run.model.frames(path) if run else frames_of(path, own.frames) for path in pair]
    features = run.features if run else [features_of(clip, own.encoder) for clip in clips]
    query, support = (x[None] for x in features)
    found = alignment_maps(metric, query, support)[0][0]
    value = -float(metric(query, support))
    names = " and ".join(f"{Path(p).parent.name[:40]}/{Path(p).stem}" for p in pair)
    figure = draw(clips[0], clips[1], found.cost, found.path, f"{found.metric}, {names}: cost {value:.4g}", found.paths)
    with write_atomically(own.out) as part:
        figure.savefig(part, format=Path(own.out).suffix[1:] or "png")
    print(own.out)
