"""Temporal shift: some channels of the patch tokens are taken from the next and the previous frame.

Lin et al. 2019, "TSM", https://arxiv.org/abs/1811.08383, inside a ViT as in ActionCLIP, Wang et al. 2021,
https://arxiv.org/abs/2109.08472 (released code https://github.com/sallymmx/ActionCLIP). Nothing is trained, and a
pretrained tower changes at once: it is not the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsar.adapters.base import Adapter, Block, Clip, Part, Tower, attend, feed


def temporal_shift(x: Tensor, frames: int, divisor: int = 8, prefix: int = 1) -> Tensor:
    """Channels ``[0, D/divisor)`` of every patch take frame t+1, the next ``D/divisor`` frame t-1, zeros at the ends.

    Args:
        x: ``(b·t l D)``.
        frames: ``t``.
        divisor: of the channels.
        prefix: tokens before the patches, such as the class token, which stay as they are.
    """
    fold = x.shape[-1] // divisor
    patches = F.pad(x[:, prefix:].unflatten(0, (-1, frames)), (0, 0, 0, 0, 1, 1))  # (b t+2 p D)
    after, before = patches[:, 2:, :, :fold], patches[:, :-2, :, fold : 2 * fold]
    shifted = torch.cat([after, before, patches[:, 1:-1, :, 2 * fold :]], dim=-1).flatten(0, 1)
    return torch.cat([x[:, :prefix], shifted], dim=1)


class TemporalShift(Adapter):
    """A temporal shift before every block.

    Args:
        divisor: one channel in ``divisor`` comes from the frame after, and one from the frame before.
        residual: shift what the block adds to as well, as ActionCLIP does. Otherwise only what the attention reads is
            shifted, which a frozen tower bears better.

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in TemporalShift().part(0, tower).parameters())  # in each of its blocks
    0
    """

    def __init__(self, divisor: int = 8, residual: bool = True) -> None:
        self.divisor = divisor
        self.residual = residual

    def part(self, index: int, tower: Tower) -> Part:
        return ShiftPart(self.divisor, self.residual, tower.prefix)


class ShiftPart(Part):
    """What :class:`TemporalShift` adds to one block: no weights."""

    def __init__(self, divisor: int, residual: bool, prefix: int = 1) -> None:
        super().__init__()
        self.prefix = prefix
        self.divisor = divisor
        self.residual = residual

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`."""
        shifted = temporal_shift(x, clip.frames, self.divisor, self.prefix)
        if self.residual:
            out: Tensor = block(shifted)
            return out
        x = x + attend(block, shifted)
        return x + feed(block, x)
