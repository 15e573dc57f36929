"""Sentences about one video each: a text file, a caption a line."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CAPTION_BYTES = 512
"""Room of a caption; about a hundred words."""


def pack_captions(lines: Sequence[str], count: int) -> Tensor:
    """The first ``count`` lines that are not empty, as bytes ``(m l)``.

    Raises:
        ValueError: fewer lines; one longer than :data:`CAPTION_BYTES`.

    >>> read_captions(pack_captions(["a hand lifts a cup", "", "the cup is full"], 2))
    ['a hand lifts a cup', 'the cup is full']
    """
    said = [line.strip().encode() for line in lines if line.strip()][:count]
    if len(said) < count:
        raise ValueError(f"data.captions_per_clip asks for {count}, one a line; found {len(said)}.")
    packed = torch.zeros(count, CAPTION_BYTES, dtype=torch.uint8)
    for row, text in zip(packed, said, strict=True):
        if len(text) > CAPTION_BYTES:
            begin = text[:40].decode(errors="ignore")
            raise ValueError(f"the caption {begin!r}... has {len(text)} bytes, {CAPTION_BYTES} at most.")
        row[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return packed


def read_captions(packed: Tensor) -> list[str]:
    """The texts of a clip's stream ``captions (m l)``."""
    return [bytes(row.tolist()).rstrip(b"\0").decode() for row in packed]
