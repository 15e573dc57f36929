"""LoRA: low-rank changes of the tower's own weights.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685, section 4.1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fsar.adapters.base import Adapter, Block, Clip, Part, Tower


class LoRA(Adapter):
    """``W <- W + (alpha / rank) B A`` with ``B`` zero at first; a frame still sees itself alone.

    Args:
        rank: of the change.
        alpha: factor of the change, as published divided by the rank.
        target: "qkv", the three input projections of the attention, each with its own change; "mlp", both layers of
            the feed-forward part; or "all".

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in LoRA(rank=4).part(0, tower).parameters())  # in each of its blocks
    1536
    """

    def __init__(self, rank: int = 8, alpha: float = 16.0, target: Literal["qkv", "mlp", "all"] = "qkv") -> None:
        if rank < 1:
            raise ValueError(f"LoRA: rank must be 1 at least, found {rank}.")
        self.rank = rank
        self.alpha = alpha
        self.target = target

    def part(self, index: int, tower: Tower) -> Part:
        shapes = {}  # weight: how many changes stand on top of each other, rows and columns of each
        if self.target in ("qkv", "all"):
            shapes["attn.in_proj_weight"] = (3, tower.width, tower.width)
        if self.target in ("mlp", "all"):
            shapes["mlp.c_fc.weight"] = (1, tower.hidden, tower.width)
            shapes["mlp.c_proj.weight"] = (1, tower.width, tower.hidden)
        return LoRAPart(shapes, self.rank, self.alpha / self.rank)


class LoRAPart(Part):
    """What :class:`LoRA` adds to one block."""

    def __init__(self, shapes: dict[str, tuple[int, int, int]], rank: int, scale: float) -> None:
        super().__init__()
        self.names = list(shapes)
        self.scale = scale
        self.a = nn.ParameterList(torch.randn(n, rank, i) * i**-0.5 for n, _, i in shapes.values())
        self.b = nn.ParameterList(torch.zeros(n, o, rank) for n, o, _ in shapes.values())

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`."""
        out: Tensor = functional_call(block, self.weights(block), (x,))
        return out

    def weights(self, block: Block) -> dict[str, Tensor]:
        """The block's weights with their changes, by name."""
        changed = {}
        for name, a, b in zip(self.names, self.a, self.b, strict=True):
            weight = block.get_parameter(name)
            changed[name] = weight + (self.scale * (b @ a).flatten(0, 1)).to(weight.dtype)
        return changed
