"""Videos of six classes, a tower that counts, and methods to score them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from episodes.clips import Clips, Features, Streams, as_clips
from episodes.episode import VideoBatch
from episodes.sampler import EpisodeSampler
from fsar.alignment import OTAM, Alignment, FrameMean
from fsar.encoders.frame import FrameEncoder
from fsar.evaluation.bank import VideoBank
from fsar.method import Method
from fsar.methods import ClipFSAR, MAClip, Prototype, ZeroShot

CLASSES, VIDEOS, FRAMES, CHANNELS, SIDE = 6, 48, 4, 16, 4
NAMES = tuple(f"class {c}" for c in range(CLASSES))
LABELS = torch.arange(VIDEOS) % CLASSES


class Text(nn.Module):
    def forward(self, names: Sequence[str]) -> Tensor:
        return self.per_template(names).mean(-2)

    def per_template(self, names: Sequence[str]) -> Tensor:
        return torch.randn(len(names), 1, CHANNELS, generator=torch.Generator().manual_seed(3))


class Counting(nn.Module):
    """A linear tower that counts the frames it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * SIDE * SIDE, CHANNELS).requires_grad_(False)
        self.frames = 0

    def forward(self, frames: Tensor) -> Tensor:
        self.frames += len(frames)
        return self.linear(frames.flatten(1))


class TwoRoles(Prototype):
    """Encodes a support clip together with the name of its class."""

    uses_text = True
    text_conditioned = True

    def encode(self, clips: Streams, text: Tensor | None = None) -> Features:
        features = super().encode(clips)
        return features if text is None else features.map(lambda x: x + 0.1 * text.unsqueeze(-2))


class OwnEncoding(Prototype):
    """Encodes clips in a way of its own."""

    def encode(self, clips: Streams, text: Tensor | None = None) -> Features:
        return super().encode(clips).map(lambda x: 2 * x)


class BestShot(Alignment):
    """The shot whose mean frame is the most alike: not that of the mean of the shots."""

    merges_shots = True

    def forward(self, query: Tensor, support: Tensor, *masks: Tensor | None) -> Tensor:
        shots = support.mean(-2).unsqueeze(-4)  # (... 1 n k d)
        return cosine_similarity(query.mean(-2)[..., None, None, :], shots, dim=-1).amax(-1)


def encoder() -> FrameEncoder:
    text: Any = Text()
    return FrameEncoder(Counting(), CHANNELS, SIDE, (0.5,) * 3, (0.3,) * 3, text=text, identity="counting")


def clips() -> Tensor:
    """uint8 ``(v t c h w)``: the class colours the noise."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 156, (VIDEOS, FRAMES, 3, SIDE, SIDE), generator=generator)
    tint = torch.randint(0, 100, (CLASSES, 1, 3, SIDE, SIDE), generator=generator)
    return (noise + tint[LABELS]).to(torch.uint8)


def sampler(shots: int, ways: int = 5) -> EpisodeSampler:
    return EpisodeSampler(LABELS.numpy(), ways, shots, 2, seed=4, class_names=NAMES)


def bank_of(method: Method, values: Clips | Tensor, batch: int = 7) -> VideoBank:
    bank, values = VideoBank(method), as_clips(values, "values")
    for videos in torch.randperm(VIDEOS, generator=torch.Generator().manual_seed(2)).split(batch):
        bank.add(VideoBatch(videos, values.at(videos), LABELS[videos], NAMES))
    return bank


METHODS: dict[str, Any] = {
    "clip_fsar after": lambda: ClipFSAR(encoder(), OTAM(), merge="after"),
    "clip_fsar before": lambda: ClipFSAR(encoder(), OTAM(), merge="before", inference="combined"),
    "clip_fsar text": lambda: ClipFSAR(encoder(), OTAM(), inference="text"),
    "clip_fsar best shot": lambda: ClipFSAR(encoder(), BestShot()),
    "ma_clip best shot": lambda: MAClip(encoder(), BestShot(), text_weight=0.0),
    "prototype best shot": lambda: Prototype(encoder(), BestShot()),
    "prototype": lambda: Prototype(encoder(), FrameMean()),
    "zero_shot": lambda: ZeroShot(encoder()),
    "two roles": lambda: TwoRoles(encoder(), OTAM()),
}
