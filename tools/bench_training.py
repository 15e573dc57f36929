"""What a training episode costs: decoding, forward and backward of the encoder, the head, and what is kept in between.

For full fine-tuning, the last blocks, every adapter and the networks beside a frozen tower, from pixels and from a
feature store, all in one interleaved run on random weights. Times are per clip, so that a slow machine needs one clip
only; an episode of 5 ways, 1 shot and 5 queries has 30. "kept" is what the forward pass leaves behind for the backward
pass, "peak" the most that was alive at a time, gradients included; both are counted tensor by tensor in a pass of its
own. Optimiser steps are left out; so is the text tower, which is cut down to nearly nothing. Clips are files of ten
seconds, H.264, 340 x 256 pixels, and what is stored of them has 16 bits; either lies in the page cache.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from bench_precision import matrix_rate
from ledger import Ledger
from torch import Tensor

from episodes.clips import Features, Streams, combined
from episodes.dataset import ClipDataset
from episodes.episode import IndexEpisode, Task
from episodes.features import FeatureWriter, StoredClips
from episodes.frames import SegmentRandom
from episodes.splits import Split
from episodes.transforms import ClipTransform
from fsar.adapters import AIM, EVL, D2STAdapter, LoRA, MAClipAdapter, STAdapter
from fsar.alignment import OTAM, BiMHM
from fsar.encoders import Adapted, Beside, ClipEncoder, FrameEncoder
from fsar.encoders.cost import added_cost
from fsar.encoders.weights.architecture import architecture, config_of
from fsar.evaluation.bank import contents, feature_key, to_store
from fsar.method import Method
from fsar.methods import D2ST, TSFSAR, ClipFSAR, MAClip, Prototype
from fsar.terminal.failure import Options, one_message

Make = Callable[..., ClipEncoder]
STORED = ", stored"
"""Ends the name of a row whose clips come from a feature store instead of files."""


def candidates(make: Make) -> dict[str, Callable[[], Method]]:
    """What is measured, by row of the table; made one at a time, since each holds a whole tower."""

    def aim(last: int | None = None, checkpointing: bool = False, **options: object) -> ClipFSAR:
        adapter = AIM(tune_norm=options.get("precision") != "bf16")
        return ClipFSAR(Adapted(make(**options), adapter, last, checkpointing=checkpointing), OTAM())

    return {
        "frozen, head alone (CLIP-FSAR)": lambda: ClipFSAR(make(), OTAM()),
        "full fine-tuning": lambda: ClipFSAR(make(tune="full"), OTAM()),
        "full fine-tuning, checkpointing": lambda: ClipFSAR(make(tune="full", checkpointing=True), OTAM()),
        "last 4 blocks": lambda: ClipFSAR(make(tune=4), OTAM()),
        "last 4 blocks, stored": lambda: ClipFSAR(make(tune=4), OTAM()),
        "last 2 blocks": lambda: ClipFSAR(make(tune=2), OTAM()),
        "last 2 blocks, stored": lambda: ClipFSAR(make(tune=2), OTAM()),
        "AIM": aim,
        "AIM, checkpointing": lambda: aim(checkpointing=True),
        "AIM, bf16 tower": lambda: aim(precision="bf16"),
        "AIM, last 4 blocks": lambda: aim(4),
        "AIM, last 4 blocks, stored": lambda: aim(4),
        "AIM, last 2 blocks": lambda: aim(2),
        "AIM, last 2 blocks, stored": lambda: aim(2),
        "ST-Adapter": lambda: ClipFSAR(Adapted(make(), STAdapter()), OTAM()),
        "D2ST-Adapter": lambda: D2ST(Adapted(make(), D2STAdapter(), project=False), BiMHM()),
        "LoRA": lambda: ClipFSAR(Adapted(make(), LoRA()), OTAM()),
        "MA-CLIP": lambda: MAClip(Adapted(make(), MAClipAdapter()), OTAM()),
        "EVL beside": lambda: Prototype(Beside(make(), EVL()), OTAM()),
        "EVL beside, stored": lambda: Prototype(Beside(make(), EVL()), OTAM()),
        "ladder beside (TS-FSAR)": lambda: TSFSAR(make()),
        "ladder beside, bf16 tower": lambda: TSFSAR(make(precision="bf16")),
        "ladder beside (TS-FSAR), stored": lambda: TSFSAR(make()),
    }


QUICK = (
    "frozen, head alone (CLIP-FSAR)",
    "full fine-tuning",
    "AIM",
    "AIM, last 2 blocks",
    "AIM, last 2 blocks, stored",
    "ladder beside (TS-FSAR)",
)


class Measured(NamedTuple):
    """One pass: seconds, and bytes."""

    read: float
    forward: float
    head: float
    backward: float
    kept: int
    peak: int


def clock(device: str) -> float:
    """Seconds: on a CPU those that this process had of it, so that others on the machine do not count."""
    if device != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def measure(method: Method, source: ClipDataset | StoredClips, episode: Task, counted: bool) -> Measured:
    """One training pass over some clips; the head sees a whole episode's features, however few clips were encoded.

    Args:
        method: what is trained.
        source: of the clips, pixels or what was stored of them.
        episode: for the head.
        counted: count bytes; otherwise take times. Counting would be timed too.
    """
    device = next(method.parameters()).device
    begin = clock(device.type)
    clips = combined(torch.stack, [source.clip(video, 0) for video in range(len(source))]).to(device)
    text = torch.randn(len(source), method_channels(method), device=device) if method.text_conditioned else None
    ledger = Ledger([*clips.values(), *method.parameters(), *method.buffers()])
    with ledger if counted else nullcontext():
        start = clock(device.type)
        features = method.features_of(clips, text)
        encoded = clock(device.type)
        kept = ledger.now
        if slopes := [x for x in features.values() if x.requires_grad]:
            torch.autograd.backward(slopes, [torch.ones_like(x) for x in slopes])
        end = clock(device.type)
    head = 0.0 if counted else time_head(method, features.map(Tensor.detach), episode)
    method.zero_grad(set_to_none=True)
    return Measured(start - begin, encoded - start, head, end - encoded, kept, ledger.peak)


def time_head(method: Method, features: Features, episode: Task) -> float:
    """Seconds of all that follows the encoder, forward and backward, for a whole episode."""
    place = features["frames"].device
    device, clips = place.type, len(features["frames"])
    filled = features.map(lambda x: x[torch.arange(episode.clip_labels.numel()) % clips].clone().requires_grad_())
    support, query = filled.split_at(len(episode.support), 0)
    text = torch.randn(len(episode.class_names), method_channels(method), device=place)
    start = clock(device)
    words = text[episode.support_classes]
    scores = method.score(method.support_parts(support, words), method.query_parts(query), episode, text)
    method.loss(scores, episode)["loss"].backward()
    return clock(device) - start


def method_channels(method: Method) -> int:
    """Channels of the class text."""
    encoder: FrameEncoder = method.encoder
    return int(getattr(encoder, "tower_channels", encoder.channels))


def index_episode(device: str) -> IndexEpisode:
    """5 ways, 1 shot, 5 queries; its clips are mere numbers."""
    labels = torch.arange(5)
    return IndexEpisode(
        torch.arange(5),
        torch.arange(25),
        labels,
        labels.repeat_interleave(5),
        labels,
        tuple(f"class {i}" for i in range(64)),
        torch.tensor(0),
    ).to(device)


def write_videos(folder: Path, count: int) -> Split:
    """Files of 250 frames, all alike."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(0, 255, (16, 17, 3), dtype=np.uint8), np.ones((16, 20, 1), dtype=np.uint8))
    paths = tuple(f"{i}.mp4" for i in range(count))
    with av.open(str(folder / paths[0]), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
        for i in range(250):
            picture = np.ascontiguousarray(np.roll(ground, 2 * i, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    for path in paths[1:]:
        (folder / path).hardlink_to(folder / paths[0])
    return Split("train", ("class",), paths, (0,) * count, folder)


def store(method: Method, clips: ClipDataset, root: Path) -> StoredClips:
    """Extracts the clips as fsar extract does, in 16 bits; what is there already stays."""
    exact = next(method.encoder.visual.parameters()).dtype == torch.bfloat16
    writer = FeatureWriter(
        root, clips, feature_key(method, training=True), 1, "bfloat16" if exact else "float16", contents(method)
    )
    device = next(method.parameters()).device
    for chunk in writer.pending():
        pixels = writer.read(chunk).to(device)
        clips_in = [Streams(frames=frames) for frames in pixels["frames"].split(1)]
        writer.write(chunk, combined(torch.cat, [writer.rounded(to_store(method, some)) for some in clips_in]))
    return StoredClips(writer.finish(), clips.split)


def cut_down(model: str, folder: Path) -> str:
    """The model's configuration with next to no text tower, since that takes no part and long to make."""
    config = config_of(name := architecture(model))
    text = {**config["text_cfg"], "width": 64, "heads": 1, "layers": 1}
    path = folder / f"{name}-bench.json"
    path.write_text(json.dumps({**config, "text_cfg": text}))
    return str(path)


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, list[Measured]]:
    """All candidates in turn, round after round; every method is made anew, so that memory holds one."""
    device, model = arguments.device, cut_down(arguments.model, folder)
    chosen = candidates(lambda **options: ClipEncoder(model, None, **options))
    if arguments.quick:
        chosen = {name: chosen[name] for name in QUICK}
    if arguments.only:
        chosen = {name: maker for name, maker in chosen.items() if any(part in name for part in arguments.only)}
    results: dict[str, list[Measured]] = {name: [] for name in chosen}
    videos = write_videos(folder, arguments.clips)
    for _ in range(arguments.rounds):
        for name, maker in chosen.items():
            torch.manual_seed(0)
            method = maker().to(device).train()
            size = method.encoder.image_size
            transform = ClipTransform(size, resize_to=round(size * 8 / 7), crop="random")
            pixels = ClipDataset(videos, SegmentRandom(), transform)
            source = store(method, pixels, folder / "store") if name.endswith(STORED) else pixels
            with torch.autocast(device, torch.bfloat16, enabled=arguments.autocast):
                counted = measure(method, source, index_episode(device), counted=True)  # and warms up
                timed = measure(method, source, index_episode(device), counted=False)
            results[name].append(timed._replace(kept=counted.kept, peak=counted.peak))
            print(f"  {name}: {timed.forward + timed.backward:.2f} s", flush=True)
            del method, source
            gc.collect()
    return results


def table(results: dict[str, list[Measured]], clips: int) -> list[str]:
    """Medians per clip, as Markdown."""
    lines = [
        "| trained | read, ms/clip | encode forward, s/clip | encode backward, s/clip | head, ms/episode | "
        "kept, MB/clip | peak, MB/clip | episode of 30 clips, s |",
        "|---" * 8 + "|",
    ]
    for name, found in results.items():
        read, forward, backward, head = (
            statistics.median(getattr(m, what) for m in found) for what in ("read", "forward", "backward", "head")
        )
        kept, peak = (size / clips / 1e6 for size in (found[-1].kept, found[-1].peak))
        cells = [f"{1e3 * read / clips:.0f}", f"{forward / clips:.3f}", f"{backward / clips:.3f}", f"{1e3 * head:.0f}"]
        whole = 30 * (read + forward + backward) / clips + head
        lines.append(f"| {name} | " + " | ".join([*cells, f"{kept:.0f}", f"{peak:.0f}", f"{whole:.1f}"]) + " |")
    return lines


@one_message(program="bench_training")
def main() -> None:
    """Parse the command line, print the table, write it if asked."""
    parser = Options(__doc__)
    parser.add_argument("--quick", action="store_true", help="six rows, one clip, one round: a minute or two on a CPU")
    parser.add_argument("--model", default="ViT-B-16", help="an open_clip ViT; random weights")
    parser.add_argument("--clips", type=int, default=1, help="clips that pass together; 30 are an episode")
    parser.add_argument("--rounds", type=int, default=1, help="the table shows medians")
    parser.add_argument("--only", nargs="+", help="rows whose name contains one of these")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--autocast", action="store_true", help="bf16 autocast, for an accelerator")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="also write the report to this Markdown file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kind = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.machine()
    with tempfile.TemporaryDirectory() as folder:
        results = run(arguments, Path(folder))
        tower = ClipEncoder(cut_down(arguments.model, Path(folder)), None)
    load = f"load average {os.getloadavg()[1]:.1f} over the last 5 minutes" if hasattr(os, "getloadavg") else ""
    lines = [
        f"torch {torch.__version__}, {kind}, {arguments.threads} thread(s), {arguments.model}, 8 frames, "
        f"{arguments.clips} clip(s) at once, {arguments.rounds} round(s), {load}",
        "",
        *table(results, arguments.clips),
    ]
    if arguments.device == "cpu" and (frozen := results.get(QUICK[0])):
        share = 8 * arguments.clips * added_cost(tower).tower / min(m.forward for m in frozen) / matrix_rate()
        lines += ["", f"The frozen tower reaches {share:.0%} of the rate of large float32 matrix products."]
    print("\n".join(["", *lines]))
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
