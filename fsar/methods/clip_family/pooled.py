"""What CLIP's own few-shot family shares: one vector per clip, one per class name, small fits per episode."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from episodes.clips import Features
from fsar.encoders.frame import FrameEncoder
from fsar.method import Method, Parts
from fsar.text import TextBank, ensemble


class PooledMethod(Method):
    """Clips are unit vectors ``L2n(mean_t f)``, classes the unit vectors of an ensemble of texts.

    Args:
        encoder: an image-text encoder, or any frame encoder for a method that reads no names.
        texts: what is said about a class; the encoder's own templates when not given.
    """

    def __init__(self, encoder: FrameEncoder, texts: TextBank | None = None) -> None:
        super().__init__(encoder)
        self.texts = texts

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C d)`` unit vectors; ``(C 0)`` for a method that reads no names."""
        if not self.uses_text:
            return self.no_text(names)
        text = self.encoder.require_text()
        return ensemble(text.per_template(names)) if self.texts is None else self.texts.features(text, names).mean()

    def query_parts(self, features: Features) -> Parts:
        return {"pooled": pool(features["frames"])}


def pool(frames: Tensor) -> Tensor:
    """Frames ``(... t d)`` -> unit clip vectors ``(... d)``."""
    return normalize(frames.mean(-2), dim=-1)


def membership(labels: Tensor, ways: int) -> Tensor:
    """``labels (... s)`` -> float ``(... s n)``, one where the clip is of the class."""
    return one_hot(labels, ways).float()


Strength = float | Tensor
"""A hyper-parameter, or a grid of them ``(g 1 1 1)`` that broadcasts against ``(e q n)``."""


def cache_logits(affinity: Tensor, values: Tensor, beta: Strength) -> Tensor:
    """``exp(-β (1 - affinity)) values``: cosines ``(... q s)`` and values ``(... s n)`` -> ``(... q n)``."""
    return (beta * (affinity - 1)).exp() @ values


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the examples of an episode, sum over episodes: ``(... q n)`` and ``(... q)`` -> ``()``."""
    return cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="sum") / targets.shape[-1]


@dataclass(frozen=True)
class AdamWSettings:
    """How :func:`fit_each` steps.

    Args:
        lr: learning rate of the first step.
        eps: added to the root of the second moment.
        weight_decay: decoupled.
    """

    lr: float = 1e-3
    eps: float = 1e-8
    weight_decay: float = 0.01


def fit_each(parameters: Sequence[Tensor], loss: Callable[[], Tensor], steps: int, optimizer: AdamWSettings) -> None:
    """Some steps of AdamW with a cosine schedule on parameters ``(e ...)`` of many episodes at once.

    AdamW works element by element, so as long as ``loss`` is a sum over episodes each episode's parameters take the
    steps that they would take alone.

    Args:
        parameters: leaves that require gradients, changed in place.
        loss: of all episodes, a sum over them.
        steps: how many.
        optimizer: its settings.
    """
    adam = torch.optim.AdamW(list(parameters), lr=optimizer.lr, eps=optimizer.eps, weight_decay=optimizer.weight_decay)
    for step in range(steps):
        adam.param_groups[0]["lr"] = optimizer.lr * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        adam.zero_grad()
        loss().backward()
        adam.step()
