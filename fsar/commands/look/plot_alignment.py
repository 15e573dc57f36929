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

from pathlib import Path

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
        parts = method.query_parts(query), method.support_parts(support, text[0])
    return method.alignment, parts[0]["frames"], parts[1]["frames"]  # type: ignore[return-value]


@one_message(program="fsar plot-alignment")
def main(args: list[str]) -> None:
    """Parse the command line and write the picture."""
    parser = Options(__doc__, prog="fsar plot-alignment")
    parser.add_argument("query")
    parser.add_argument("support")
    parser.add_argument("--out", type=output_file, required=True, help="the PNG (or SVG, PDF) to write")
    parser.add_argument("--metric", default="fsar.alignment.OTAM", help="module.Class of a metric on frame costs")
    parser.add_argument("--init", type=json_text, default={}, help="its arguments as JSON")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--encoder", type=json_text, help="arguments of fsar.encoders.ImageEncoder as JSON")
    parser.add_argument("--run", help="a run folder: its trained features and its metric")
    arguments = parser.parse_args(args)
    features: list[Tensor] = []
    if arguments.run:
        metric, *features = trained(arguments.run, (arguments.query, arguments.support))
    else:
        metric = build(arguments.metric, arguments.init)
    if not isinstance(metric, CostAlignment):
        parser.error(f"{type(metric).__name__} has no frame costs, so no path to draw; take a CostAlignment.")
    clips = [frames_of(path, arguments.frames) for path in (arguments.query, arguments.support)]
    query, support = (x[None] for x in features or [features_of(clip, arguments.encoder) for clip in clips])
    found = alignment_maps(metric, query, support)[0][0]
    value = -float(metric(query, support))
    names = " and ".join(f"{Path(p).parent.name[:40]}/{Path(p).stem}" for p in (arguments.query, arguments.support))
    figure = draw(clips[0], clips[1], found.cost, found.path, f"{found.metric}, {names}: cost {value:.4g}", found.paths)
    with write_atomically(arguments.out) as part:
        figure.savefig(part, format=Path(arguments.out).suffix[1:] or "png")
    print(arguments.out)
