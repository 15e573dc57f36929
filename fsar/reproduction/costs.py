"""What a clip and an episode cost on this machine, measured on a few."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import NamedTuple

import av
import numpy as np
import torch
from einops import repeat
from torch import Tensor

from episodes.clips import Clips, Features, Streams, combined
from episodes.datamodule import EpisodicDataModule
from episodes.episode import Episode, IndexEpisode, VideoBatch
from episodes.splits import Split
from fsar.build import device_of
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.ranking import Kept
from fsar.reproduction.checks import Checked

WAYS, TOGETHER, SCORED = 2, 2, 4
"""Classes of the episode that is trained on, clips that are encoded at a time, episodes that are scored at a time."""


class Costs(NamedTuple):
    """Seconds and bytes.

    Args:
        read: seconds to read a clip, of one process.
        encode: seconds to encode a clip in evaluation.
        train: seconds for a clip of a training episode, forward and backward; 0 where nothing is trained.
        score: seconds to score an episode of the test.
        saved: bytes that a clip of a training episode holds until the backward pass.
        kept: bytes that an evaluation keeps of a video.
    """

    read: float
    encode: float
    train: float
    score: float
    saved: int
    kept: int


def measure_costs(found: Checked, split: Split, seconds: float) -> Costs:
    """Costs of a work, on clips of a split, in about so many seconds and at least one run of each kind."""
    device, data, shots = device_of("auto"), found.data, found.work.shots[0]
    method = found.learner.method.to(device)
    reader = data.read(split, True, 0)
    clips: list[Streams] = []
    count = WAYS * 2
    read = _time(lambda: clips.append(reader.clip(len(clips) % len(split))), seconds / 4, count, device)
    pixels = combined(torch.stack, clips[:count]).to(device)
    method.eval()
    some, encoded = pixels.map(lambda x: x[:TOGETHER]), list[Features]()
    text: tuple[Tensor, ...] = ()
    with torch.no_grad():
        if method.text_conditioned:
            names = tuple(f"class {i}" for i in range(TOGETHER))
            text = (method.class_text(names),)
        encode = _time(lambda: encoded.append(method.features_of(some, *text)), seconds / 4, 1, device) / TOGETHER
    reused: Clips = some if method.text_conditioned else encoded[-1]
    score, kept = _scoring(found, reused, shots, seconds / 8, device)
    encode *= 1 + method.text_conditioned  # once alone, once with the class's text
    train, saved = 0.0, 0
    if found.trained:
        method.train()
        saved_bytes: list[int] = []
        train = _time(lambda: saved_bytes.append(_step(found, pixels)), seconds / 4, 1, device) / count
        saved = saved_bytes[-1] // count
    return Costs(read, encode, train, score, saved, kept)


def _scoring(found: Checked, clips: Clips, shots: int, seconds: float, device: torch.device) -> tuple[float, int]:
    """Seconds for an episode, and bytes kept of a video, with the few clips at hand over and over."""
    method, data = found.learner.method, found.data
    ways = data.test_ways or data.ways
    videos = ways * (shots + data.test_queries)
    again = torch.arange(videos, device=device) % TOGETHER
    clips = clips.map(lambda x: x[again])
    bank = VideoBank(method)
    with torch.no_grad():
        names = tuple(f"class {i}" for i in range(ways))
        labels = torch.arange(ways, device=device)
        bank.add(VideoBatch(torch.arange(videos, device=device), clips, labels.repeat(videos // ways), names))
        bank.close()
        kept = sum(x[0].nbytes for role in bank._roles for x in bank._bank[role].values())
        numbers = torch.arange(videos, device=device).unflatten(0, (shots + data.test_queries, ways))
        episodes = IndexEpisode(
            support=_batched(numbers[:shots].mT.flatten()),
            query=_batched(numbers[shots:].mT.flatten()),
            support_labels=_batched(labels.repeat_interleave(shots)),
            query_labels=_batched(labels.repeat_interleave(data.test_queries)),
            classes=_batched(labels),
            class_names=names,
            number=torch.arange(SCORED, device=device),
        )
        return _time(lambda: score_episodes(bank, episodes), seconds, 1, device) / SCORED, kept


def _batched(x: Tensor) -> Tensor:
    return repeat(x, "v -> e v", e=SCORED).contiguous()


def _step(found: Checked, pixels: Streams) -> int:
    """Forward and backward on a small episode; gives the bytes that were kept for the second."""
    method = found.learner.method
    labels = torch.arange(WAYS, device=pixels["frames"].device)
    episode = Episode(
        support=pixels.map(lambda x: x[:WAYS]),
        query=pixels.map(lambda x: x[WAYS:]),
        support_labels=labels,
        query_labels=labels,
        classes=labels,
        class_names=tuple(f"class {i}" for i in range(WAYS)),
        number=torch.tensor(0, device=labels.device),
    )
    kept = Kept(method)
    with kept:
        loss = method.loss(method(episode), episode)["loss"]
    loss.backward()
    method.zero_grad(set_to_none=True)
    return sum(kept.sizes.values())


def _time(act: Callable[[], object], seconds: float, least: int, device: torch.device) -> float:
    """Median seconds of an act, which is done until the time is up and at least so often; the first is left out where
    there are others. On a CPU the seconds of a busy machine are those of its processor, as far as they are fewer."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < 50):
        start, busy = time.perf_counter(), time.process_time()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            busy = -1e9
        times.append(min(time.perf_counter() - start, time.process_time() - busy))
    return median(times[1:] or times)


def sample_split(data: EpisodicDataModule, folder: Path, rooted: bool) -> Split:
    """Some training videos to measure on; without a root of videos one that is drawn here, of 427 x 240 pixels and 4
    seconds at 12 frames a second, as Something-Something has them."""
    if not rooted:
        write_noise(folder / "noise.mp4")
        return Split("train", ("noise",), ("noise.mp4",), (0,), folder)
    benchmark = data.load()
    split = benchmark.train if len(benchmark.train) else benchmark.test
    chosen = np.linspace(0, len(split) - 1, min(len(split), 50)).astype(int).tolist()
    paths, labels = tuple(split.paths[i] for i in chosen), tuple(split.labels[i] for i in chosen)
    spans = tuple(split.spans[i] for i in chosen) if split.spans else ()
    return Split(split.name, split.class_names, paths, labels, split.root, (), spans)


def write_noise(path: Path, frames: int = 48, width: int = 426, height: int = 240) -> None:
    """An H.264 file of drifting noise."""
    image = np.random.default_rng(0).integers(0, 255, (height // 6, width // 6, 3), dtype=np.uint8)
    image = np.kron(image, np.ones((6, 6, 1), dtype=np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(12))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(image, 2 * i, axis=1)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
