"""What a training episode costs: forward and backward of the encoder and the head, and what is kept in between.

For full fine-tuning, the last blocks, every adapter and the networks beside a frozen tower, all in one interleaved run
on random weights. Times are per clip, so that a slow machine needs one clip only; an episode of 5 ways, 1 shot and 5
queries has 30. "kept" is what the forward pass leaves behind for the backward pass, "peak" the most that was alive at a
time, gradients included; both are counted tensor by tensor in a pass of its own. Optimiser steps are left out.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from episodes.episode import Episode
from episodes.frames import SegmentRandom
from episodes.video import read_frames
from fsar.adapted import Adapted
from fsar.adapters import AIM, EVL, D2STAdapter, LoRA, MAClipAdapter, STAdapter
from fsar.alignment import OTAM, BiMHM
from fsar.beside import Beside
from fsar.clip import ClipEncoder, FrameEncoder
from fsar.method import Method
from fsar.methods import TSFSAR, ClipFSAR, MAClip, Prototype

Make = Callable[..., ClipEncoder]


def candidates(make: Make) -> dict[str, Callable[[], Method]]:
    """What is measured, by row of the table; made one at a time, since each holds a whole CLIP."""
    return {
        "frozen, head alone (CLIP-FSAR)": lambda: ClipFSAR(make(), OTAM()),
        "full fine-tuning": lambda: ClipFSAR(make(tune="full"), OTAM()),
        "full fine-tuning, checkpointing": lambda: ClipFSAR(make(tune="full", checkpointing=True), OTAM()),
        "last 4 blocks": lambda: ClipFSAR(make(tune=4), OTAM()),
        "last 2 blocks": lambda: ClipFSAR(make(tune=2), OTAM()),
        "AIM": lambda: ClipFSAR(Adapted(make(), AIM()), OTAM()),
        "AIM, checkpointing": lambda: ClipFSAR(Adapted(make(), AIM(), checkpointing=True), OTAM()),
        "AIM, bf16 tower": lambda: ClipFSAR(Adapted(make(precision="bf16"), AIM()), OTAM()),
        "AIM, last 4 blocks": lambda: ClipFSAR(Adapted(make(), AIM(), last=4), OTAM()),
        "AIM, last 2 blocks": lambda: ClipFSAR(Adapted(make(), AIM(), last=2), OTAM()),
        "AIM, last 4 blocks, cached below": lambda: Cached(Adapted(make(), AIM(), last=4), OTAM()),
        "AIM, last 2 blocks, cached below": lambda: Cached(Adapted(make(), AIM(), last=2), OTAM()),
        "ST-Adapter": lambda: ClipFSAR(Adapted(make(), STAdapter()), OTAM()),
        "D2ST-Adapter": lambda: Prototype(Adapted(make(), D2STAdapter(), project=False), BiMHM()),
        "LoRA": lambda: ClipFSAR(Adapted(make(), LoRA()), OTAM()),
        "MA-CLIP": lambda: MAClip(Adapted(make(), MAClipAdapter()), OTAM()),
        "EVL beside": lambda: Prototype(Beside(make(), EVL()), OTAM()),
        "ladder beside (TS-FSAR)": lambda: TSFSAR(make()),
        "ladder beside, bf16 tower": lambda: TSFSAR(make(precision="bf16")),
    }


QUICK = ("frozen, head alone (CLIP-FSAR)", "full fine-tuning", "AIM", "AIM, last 2 blocks", "ladder beside (TS-FSAR)")


class Cached(Prototype):
    """Trains from what enters the first adapted block, computed before."""

    def encode(self, clips: Tensor, text: Tensor | None = None) -> Tensor:
        """Kept states ``(b t l D)``, or pixels, to ``(b t d)``."""
        return self.encoder.above(clips) if clips.dim() == 4 else self.encoder(clips)


class Measured(NamedTuple):
    """One pass: seconds, and bytes."""

    forward: float
    head: float
    backward: float
    kept: int
    peak: int


class Ledger(TorchDispatchMode):
    """Counts the bytes of every tensor made while it is on, for as long as it lives.

    Args:
        known: tensors that were there before, such as weights: views of them are not counted.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.live: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.add, out)
        return out

    def add(self, tensor: Tensor) -> None:
        """A tensor was made; views of what is known already are not counted again."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.live and key not in self.known:
            self.live[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.drop, key)

    def drop(self, key: int) -> None:
        """Its last owner let go of it."""
        self.now -= self.live.pop(key, 0)


def clock(device: str) -> float:
    """Seconds: on a CPU those that this process had of it, so that others on the machine do not count."""
    if device != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def measure(method: Method, clips: Tensor, episode: Episode, counted: bool) -> Measured:
    """One training pass over some clips; the head sees a whole episode's features, however few clips were encoded.

    Args:
        method: what is trained.
        clips: ``(b t c h w)``.
        episode: for the head.
        counted: count bytes; otherwise take times. Counting would be timed too.
    """
    device = clips.device.type
    ledger = Ledger([clips, *method.parameters(), *method.buffers()])
    with ledger if counted else nullcontext():
        start = clock(device)
        features = method.encode(clips)
        encoded = clock(device)
        kept = ledger.now
        if features.requires_grad:
            features.backward(torch.ones_like(features))
        end = clock(device)
    head = 0.0 if counted else time_head(method, features.detach(), episode)
    method.zero_grad(set_to_none=True)
    return Measured(encoded - start, head, end - encoded, kept, ledger.peak)


def time_head(method: Method, features: Tensor, episode: Episode) -> float:
    """Seconds of all that follows the encoder, forward and backward, for a whole episode."""
    device = features.device.type
    count = len(episode.support) + len(episode.query)
    filled = features.repeat(-(-count // len(features)), 1, 1)[:count].clone().requires_grad_()
    support, query = filled.split([len(episode.support), len(episode.query)])
    text = torch.randn(len(episode.class_names), method_channels(method), device=features.device)
    start = clock(device)
    words = text[episode.support_classes]
    scores = method.score(method.support_parts(support, words), method.query_parts(query), episode, text)
    method.loss(scores, episode)["loss"].backward()
    return clock(device) - start


def method_channels(method: Method) -> int:
    """Channels of the class text."""
    encoder: FrameEncoder = method.encoder
    return int(getattr(encoder, "clip_channels", encoder.channels))


def index_episode(device: str) -> Episode:
    """5 ways, 1 shot, 5 queries; its clips are mere numbers."""
    labels = torch.arange(5)
    return Episode(
        torch.zeros(5),
        torch.zeros(25),
        labels,
        labels.repeat_interleave(5),
        labels,
        tuple(f"class {i}" for i in range(64)),
        torch.tensor(0),
    ).to(device)


def decode_seconds(rounds: int) -> float:
    """Seconds to read 8 frames of a ten-second H.264 file of 340 x 256 pixels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        rng = np.random.default_rng(0)
        ground = np.kron(rng.integers(0, 255, (16, 17, 3), dtype=np.uint8), np.ones((16, 20, 1), dtype=np.uint8))
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
            for i in range(250):
                picture = np.ascontiguousarray(np.roll(ground, 2 * i, axis=1))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        times = []
        for i in range(rounds + 1):
            start = time.perf_counter()
            chosen = SegmentRandom()(250, 8, np.random.default_rng(i), 25.0)
            read_frames(path, chosen)
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def run(arguments: argparse.Namespace) -> dict[str, list[Measured]]:
    """All candidates in turn, round after round; every method is made anew, so that memory holds one."""
    device = arguments.device

    def make(**options: object) -> ClipEncoder:
        return ClipEncoder(arguments.model, None, **options)  # type: ignore[arg-type]

    chosen = candidates(make)
    if arguments.quick:
        chosen = {name: chosen[name] for name in QUICK}
    if arguments.only:
        chosen = {name: maker for name, maker in chosen.items() if any(part in name for part in arguments.only)}
    results: dict[str, list[Measured]] = {name: [] for name in chosen}
    for _ in range(arguments.rounds):
        for name, maker in chosen.items():
            torch.manual_seed(0)
            method = maker().to(device)
            size = method.encoder.image_size
            clips = torch.randint(0, 256, (arguments.clips, 8, 3, size, size), dtype=torch.uint8, device=device)
            method.train()
            if isinstance(method, Cached):
                clips = method.encoder.below(clips)
            with torch.autocast(device, torch.bfloat16, enabled=arguments.autocast):
                counted = measure(method, clips, index_episode(device), counted=True)  # and warms up
                timed = measure(method, clips, index_episode(device), counted=False)
            results[name].append(timed._replace(kept=counted.kept, peak=counted.peak))
            print(f"  {name}: {results[name][-1].forward + results[name][-1].backward:.2f} s", flush=True)
            del method, clips
            gc.collect()
    return results


def table(results: dict[str, list[Measured]], clips: int) -> list[str]:
    """Medians per clip, as Markdown."""
    lines = [
        "| trained | encode forward, s/clip | encode backward, s/clip | head, ms/episode | kept, MB/clip | "
        "peak, MB/clip | episode of 30 clips, s |",
        "|---" * 7 + "|",
    ]
    for name, found in results.items():
        forward, backward, head = (
            statistics.median(getattr(m, what) for m in found) for what in ("forward", "backward", "head")
        )
        kept, peak = (size / clips / 1e6 for size in (found[-1].kept, found[-1].peak))
        whole = 30 * (forward + backward) / clips + head
        cells = [f"{forward / clips:.3f}", f"{backward / clips:.3f}", f"{1e3 * head:.0f}", f"{kept:.0f}", f"{peak:.0f}"]
        lines.append(f"| {name} | " + " | ".join([*cells, f"{whole:.1f}"]) + " |")
    return lines


def main() -> None:
    """Parse the command line, print the table, write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="five rows, one clip, one round: a minute or two on a CPU")
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
    where = (
        torch.cuda.get_device_name()
        if arguments.device == "cuda"
        else f"{platform.machine()}, {arguments.threads} thread(s)"
    )
    results = run(arguments)
    decode = decode_seconds(5)
    lines = [
        f"torch {torch.__version__}, {where}, {arguments.model}, 8 frames, {arguments.clips} clip(s) at once, "
        f"{arguments.rounds} round(s)",
        "",
        *table(results, arguments.clips),
        "",
        f"Decoding 8 frames of a ten-second 340 x 256 H.264 file, one core: {1e3 * decode:.0f} ms a clip.",
    ]
    print("\n".join(["", *lines]))
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
