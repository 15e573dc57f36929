"""For objectives: a text tower of random words, and a step of random clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from episodes.clips import Features
from fsar.objectives import Step

NAMES = ("opening a box", "closing a box", "pouring water", "pretending to pour water")


class Words:
    """A text encoder: the mean of a random vector for each word."""

    def __init__(self, channels: int = 8) -> None:
        self.channels = channels

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([torch.stack([self.word(word) for word in text.split()]).mean(0) for text in texts])

    def word(self, word: str) -> Tensor:
        generator = torch.Generator().manual_seed(sum(ord(c) * 31**i for i, c in enumerate(word)) % 2**31)
        return torch.randn(self.channels, generator=generator, dtype=torch.float64).float()

    def fits(self, text: str) -> bool:
        return True


@pytest.fixture
def make_step() -> Callable[..., Step]:
    """A step of seven clips of the classes 0, 1 and 3."""

    def make(**changes: object) -> Step:
        generator = torch.Generator().manual_seed(3)
        frames = torch.randn(7, 6, 8, generator=generator)
        features = Features(
            frames=frames.requires_grad_(),
            patches=torch.randn(7, 6, 4, 8, generator=generator),
            sound=torch.randn(7, 5, 8, generator=generator),
        )
        given: dict[str, object] = {
            "features": features,
            "labels": torch.tensor([0, 1, 3, 3, 1, 0, 3]),
            "class_names": NAMES,
            "text": Words(),
            "frozen": Features(frames=torch.randn(7, 6, 8, generator=generator)),
        }
        return Step(**{**given, **changes})  # type: ignore[arg-type]

    return make
