"""Draw a frame of a clip as a few strokes that an encoder takes for it (CLIPasso).

    fsar sketch CLIP --out sketch.svg                                       # OpenAI's RN101, as published
    fsar sketch CLIP --out sketch.png --run runs/demo --against other.mp4   # the frame that decides the match
    fsar sketch CLIP --out sketch.svg --encoder fsar-tiny:shapes --strokes 8 --steps 100

Strokes are cubic Bézier curves, moved until the middle layers and the pooled feature of the encoder see in the drawing
what they see in the frame. --out is an SVG, or a PNG at four times the size. Published: 16 strokes, 2,000 steps, RN101,
which is five seconds a step on one core of a CPU; --steps 300 --augmentations 1 gives a first look.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

import fsar
from fsar.alignment import CostAlignment
from fsar.alignment.maps import alignment_maps
from fsar.build import device_of
from fsar.commands.look.plot_alignment import frames_of, trained
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.weights.by_name import encoder_by_name, split_name
from fsar.inference.sketches import choose_layers, sketch_frame, telling_frame
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file
from fsar.terminal.shown import shown


@one_message(program="fsar sketch")
def main(args: list[str]) -> None:
    """Parse, choose the frame, draw."""
    parser = Options(__doc__, prog="fsar sketch")
    parser.add_argument("clip", metavar="CLIP")
    parser.add_argument("--out", type=output_file, required=True, help="the SVG or PNG to write")
    parser.add_argument("--frame", type=int, metavar="N", help="which of --frames, from 1; the middle one by default")
    parser.add_argument("--frames", type=int, default=8, help="evenly spaced over the clip (8)")
    parser.add_argument("--encoder", help="a network, ViT-B-16:openai or timm:NAME; RN101 by default")
    parser.add_argument("--run", help="a run folder: its encoder")
    parser.add_argument("--against", metavar="OTHER", help="with --run: the frame with the largest share of the match")
    parser.add_argument("--strokes", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--augmentations", type=int, default=4, help="pairs that are shifted alike in each step (4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    own = parser.parse_args(args)
    if own.out.suffix.lower() not in (".svg", ".png"):
        parser.error(f"--out must end in .svg or .png, found {own.out}.")
    if own.run and own.encoder:
        parser.error("--encoder and --run name one encoder each: give one of them.")
    if own.against and (not own.run or own.frame is not None):
        parser.error("--against chooses the frame by the metric of --run: give --run, and no --frame.")
    if own.frame is not None and not 1 <= own.frame <= own.frames:
        parser.error(f"--frame must be 1 to {own.frames}, found {own.frame}.")
    encoder = find_encoder(own.run, own.encoder).to(device_of(own.device))
    layers = choose_layers(encoder)  # refused before anything is read
    number = own.frame - 1 if own.frame else choose_frame(own.run, own.clip, own.against, own.frames)
    frame = frames_of(own.clip, own.frames)[number]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("strokes", total=own.steps)
        found = sketch_frame(
            frame, encoder, own.strokes, own.steps, own.augmentations, own.seed,
            lambda step, loss: progress.update(bar, completed=step + 1, description=f"loss {loss:.4f}"),
        )  # fmt: skip
    found.write(own.out, f"frame {number + 1} of {Path(own.clip).name}")
    told = f"frame {number + 1} of {own.frames}, {' and '.join(layers)} of {encoder.identity}"
    print(shown(f"{told}: loss {found.losses[0]:.4f} -> {found.losses[-1]:.4f}"), file=sys.stderr)
    print(own.out)


def find_encoder(run: str | None, name: str | None) -> FrameEncoder:
    """Of a run, or by name."""
    if run:
        encoder: FrameEncoder = fsar.load(run).learner.method.encoder.eval()
        return encoder
    return encoder_by_name(*split_name(name or "RN101")).eval()


def choose_frame(run: str | None, clip: str, other: str | None, frames: int) -> int:
    """The middle one; or the one with the largest share of the alignment with another clip.

    Raises:
        ValueError: for a run whose metric aligns no frames, or whose steps are not these frames.
    """
    if not run or not other:
        return frames // 2
    _, metric, (query, support) = trained(run, (clip, other))
    if not isinstance(metric, CostAlignment):
        raise ValueError(f"--against: {type(metric).__name__} of {run} has no frame costs, so no path; leave it out.")
    found = alignment_maps(metric, query[None], support[None])[0][0]
    if len(found.path) != frames:
        raise ValueError(f"--against: {run} compares {len(found.path)} steps a clip: give --frames {len(found.path)}.")
    return telling_frame(found)
