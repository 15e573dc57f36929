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
from fsar.commands.look.check_alignment import build
from fsar.commands.look.plot_alignment import features_of, take_options, trained
from fsar.drawing import show_steps
from fsar.playing import SUFFIXES, play, write_film
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file
from fsar.terminal.shown import shown


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
    parser.add_argument("--out", type=output_file, help="the .gif or .mp4 to write; by default named after the clips")
    parser.add_argument("--slow", type=int, default=4, help="pictures from one pair of frames to the next (default: 4)")
    own = take_options(parser, args)
    pair = (own.query, own.support)
    out = own.out or Path(f"{Path(own.query).stem}_{Path(own.support).stem}.gif")
    if out.suffix.lower() not in SUFFIXES:
        parser.error(f"--out {out}: expected a name that ends in .gif or .mp4.")
    if own.slow < 1:
        parser.error(f"--slow must be at least 1, found {own.slow}.")
    infos = [probe(path) for path in pair]
    clips = [read_frames(path, np.arange(info.frames)) for path, info in zip(pair, infos, strict=True)]
    run = trained(own.run, pair) if own.run else None
    metric = run.metric if run else build(own.metric, own.init)
    if not isinstance(metric, CostAlignment):
        parser.error(f"{type(metric).__name__} has no frame costs, so no path to play along; take a CostAlignment.")
    sampler, count = (run.model.data.test_sampler, run.model.data.frames) if run else (SegmentCentre(), own.frames)
    assert sampler is not None  # since the options were made
    seen = [sampler(info.frames, count, fps=info.fps) for info in infos]
    features = run.features if run else [features_of(c[at], own.encoder) for c, at in zip(clips, seen, strict=True)]
    found = alignment_maps(metric, *(torch.as_tensor(one)[None] for one in features))[0][0]
    visits, path = best_path(metric, found.cost)
    steps = [show_steps(at, n).tolist() for at, n in zip(seen, found.cost.shape, strict=True)]
    words = f"{found.metric}: best path, {visits}" + ("" if found.paths else "; in any other order as cheap")
    write_film(play(clips[0], clips[1], (steps[0], steps[1]), found.cost, path, words, own.slow), out)
    print(f"{shown(str(out))} ({out.stat().st_size / 1000:.0f} kB)")
