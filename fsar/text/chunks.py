"""Texts longer than the tower reads: split at sentences, encoded in pieces, averaged; never cut off in silence."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from episodes.words import pluralise


class Encodes(Protocol):
    """What a text encoder can do: :class:`fsar.encoders.TextEncoder` does."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts as they stand -> ``(C d)``."""

    def fits(self, text: str) -> bool:
        """Whether the tower reads the whole of the text."""


def chunks(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text in as few consecutive pieces as fit, split at sentences, and inside one too long for itself at words.

    Raises:
        ValueError: when a single word does not fit.

    >>> chunks("A hand rises. It waves to and fro.", lambda text: len(text) < 24)
    ['A hand rises.', 'It waves to and fro.']
    """
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?;])\s+", text.strip()):
        for part in [sentence] if fits(sentence) else sentence.split():
            if pieces and fits(joined := f"{pieces[-1]} {part}"):
                pieces[-1] = joined
            elif fits(part):
                pieces.append(part)
            else:
                raise ValueError(f"{part[:60]!r}... is one word and longer than the text encoder reads; shorten it.")
    return pieces


def encode_whole(encoder: Encodes, texts: Sequence[str]) -> Tensor:
    """``C`` texts of any length -> ``(C d)`` un-normalised: a long text is the plain mean of its pieces.

    A warning says how many were split.
    """
    pieces = [[text] if encoder.fits(text) else chunks(text, encoder.fits) for text in texts]
    counts = [len(parts) for parts in pieces]
    features = encoder.encode([part for parts in pieces for part in parts])
    if len(features) == len(texts):
        return features
    split = [count for count in counts if count > 1]
    warnings.warn(
        f"{len(split)} of {pluralise(len(texts), 'text')} longer than the text encoder reads: split into "
        f"{sum(split)} pieces, whose features are averaged.",
        stacklevel=2,
    )
    return torch.stack([part.mean(0) for part in features.split(counts)])
