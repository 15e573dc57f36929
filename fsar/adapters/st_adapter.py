"""ST-Adapter: a depthwise convolution over the frames in a bottleneck.

Pan et al. 2022, "ST-Adapter: Parameter-Efficient Image-to-Video Transfer Learning",
https://arxiv.org/abs/2206.13559, section 3.3; released code https://github.com/linziyi96/st-adapter, which adds in
place (wrong with checkpointing); here every sum is a new tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsar.adapters.base import Adapter, Block, Clip, Linear, Part, Tower, attend, feed


class STAdapter(Adapter):
    """``X[:, 1:] <- X[:, 1:] + W2 conv_t(W1 X[:, 1:] + b1) + b2`` inside every block; the class token is left alone.

    The convolution is depthwise over three frames with zeros beyond the clip's ends, and zero at first, so that the
    tower is CLIP at first and only the convolution gets a gradient in the first step.

    Args:
        hidden: channels of the bottleneck; 384 for a width of 768 in the paper. By default half the width.
        before_attention: an adapter before the attention, as in the paper's figure.
        before_mlp: an adapter before the feed-forward part. The released SSv2 model ("24x384") has both, the released
            Kinetics model ("12x384") this one alone. In the last block it cannot reach the class token: those 592,512
            weights of ViT-B get no gradient, here as there.

    7,110,144 trained weights in ViT-B with one of them, 14,220,288 with both. Any number of frames. The released
    models average the class token over the frames before the closing norm: ``Adapted(..., output="video")``.

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in STAdapter(hidden=16).part(0, tower).parameters())  # in each of its blocks
    2192
    """

    def __init__(self, hidden: int | None = None, before_attention: bool = True, before_mlp: bool = False) -> None:
        if not before_attention and not before_mlp:
            raise ValueError("STAdapter: set before_attention, before_mlp or both; with neither there is no adapter.")
        self.hidden = hidden
        self.before_attention = before_attention
        self.before_mlp = before_mlp

    def part(self, index: int, tower: Tower) -> Part:
        hidden = self.hidden or tower.width // 2
        return STPart(tower.width, hidden, self.before_attention, self.before_mlp, tower.prefix)


class STPart(Part):
    """What :class:`STAdapter` adds to one block."""

    def __init__(self, width: int, hidden: int, before_attention: bool, before_mlp: bool, prefix: int = 1) -> None:
        super().__init__()
        self.attention = FrameConvolution(width, hidden, prefix) if before_attention else None
        self.mlp = FrameConvolution(width, hidden, prefix) if before_mlp else None

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`."""
        if self.attention is not None:
            x = self.attention(x, clip.frames)
        x = x + attend(block, x)
        if self.mlp is not None:
            x = self.mlp(x, clip.frames)
        return x + feed(block, x)


class FrameConvolution(nn.Module):
    """One ST-Adapter.

    Args:
        width: channels of the tokens.
        hidden: channels of the bottleneck.
        prefix: tokens before the patches, which stay as they are.
    """

    def __init__(self, width: int, hidden: int, prefix: int = 1) -> None:
        super().__init__()
        self.prefix = prefix
        self.down, self.up = Linear(width, hidden), Linear(hidden, width)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)
        self.weight = nn.Parameter(torch.zeros(3, hidden))  # of the frame before, the frame itself, the frame after
        self.bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """``(b·t l D)`` to the same."""
        z = self.down(x[:, self.prefix :]).unflatten(0, (-1, frames))  # (b t p c)
        before, here, after = self.weight.to(z.dtype)
        padded = F.pad(z, (0, 0, 0, 0, 1, 1))
        z = before * padded[:, :-2] + here * z + after * padded[:, 2:] + self.bias.to(z.dtype)
        return torch.cat([x[:, : self.prefix], x[:, self.prefix :] + self.up(z.flatten(0, 1))], dim=1)
