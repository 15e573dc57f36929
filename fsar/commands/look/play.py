"""A film of two clips playing along their path: what is matched is shown at the same time.

    fsar play query.mp4 support.mp4                       # writes query_support.gif
    fsar play query.mp4 support.mp4 --run runs/demo --out played.mp4
        [--metric fsar.alignment.DTW] [--init '{"temperature": 0.05}'] [--frames 8] [--encoder JSON] [--slow 4]

Metric, features and options are those of ``fsar plot-alignment``. The path is the best one in order of time, the first
of two for a metric in both directions; the line above says when frames in any other order would be matched as cheaply.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from episodes.frames import SegmentCentre
from episodes.video import probe, read_frames
from fsar.alignment import CostAlignment
from fsar.alignment.maps import Cells, alignment_maps
from fsar.commands.look.check_alignment import build, json_text
from fsar.commands.look.plot_alignment import features_of, trained
from fsar.playing import SUFFIXES, play, write_film
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file


def best_path(metric: CostAlignment, cost: Tensor) -> tuple[str, Cells]:
    """The first best path through costs ``(t u)``: what it visits, and its pairs.

    Raises:
        ValueError: for a metric that knows no order.
    """
    for visits, path in metric.best_paths(cost).items():
        return visits, tuple((i, j) for i, j in path.nonzero().tolist())
    raise ValueError(
        f"{type(metric).__name__} matches frames in no order, so there is no path to play along: take OTAM."
    )


@one_message(program="fsar play")
def main(args: list[str]) -> None:
    """Parse the command line and write the film."""
    parser = Options(__doc__, prog="fsar play")
    parser.add_argument("query")
    parser.add_argument("support")
    parser.add_argument("--out", type=output_file, help="the .gif or .mp4 to write; by default named after the clips")
    parser.add_argument("--metric", default="fsar.alignment.OTAM", help="module.Class of a metric on frame costs")
    parser.add_argument("--init", type=json_text, default={}, help="its arguments as JSON")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--encoder", type=json_text, help="arguments of fsar.encoders.ImageEncoder as JSON")
    parser.add_argument("--run", help="a run folder: its trained features and its metric")
    parser.add_argument("--slow", type=int, default=4, help="pictures from one pair of frames to the next (default: 4)")
    own = parser.parse_args(args)
    pair = (own.query, own.support)
    out = own.out or Path(f"{Path(own.query).stem}_{Path(own.support).stem}.gif")
    if out.suffix.lower() not in SUFFIXES:
        parser.error(f"--out {out}: expected a name that ends in .gif or .mp4.")
    if own.slow < 1:
        parser.error(f"--slow must be at least 1, found {own.slow}.")
    counts = [probe(path).frames for path in pair]
    clips = [read_frames(path, np.arange(count)) for path, count in zip(pair, counts, strict=True)]
    if own.run:
        metric, *features = trained(own.run, pair)
    else:
        metric, middle = build(own.metric, own.init), SegmentCentre()
        features = [features_of(clip[middle(len(clip), own.frames)], own.encoder) for clip in clips]
    if not isinstance(metric, CostAlignment):
        parser.error(f"{type(metric).__name__} has no frame costs, so no path to play along; take a CostAlignment.")
    found = alignment_maps(metric, *(torch.as_tensor(one)[None] for one in features))[0][0]
    visits, path = best_path(metric, found.cost)
    seen = [SegmentCentre()(count, steps).tolist() for count, steps in zip(counts, found.cost.shape, strict=True)]
    words = f"{found.metric}: best path, {visits}" + ("" if found.paths else "; in any other order as cheap")
    write_film(play(clips[0], clips[1], (seen[0], seen[1]), found.cost, path, words, own.slow), out)
    print(f"{out} ({out.stat().st_size / 1000:.0f} kB)")
