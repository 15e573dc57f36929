"""EMP-Net's reasoning over tokens of a frozen tower: three depths are fused, three levels made, a text joins each.

Wu et al., "Efficient Few-Shot Action Recognition via Multi-Level Post-Reasoning", ECCV 2024,
https://www.ecva.net/papers/eccv_2024/papers_ECCV/papers/00305.pdf; formulas in :mod:`fsar.methods.emp_net`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsar.temporal.transformer import Block, feed_forward

LEVELS = ("token", "frame", "patch")
DROPOUT = 0.05
Parts = dict[str, Tensor]


def make_block(channels: int, hidden: int | None) -> Block:
    """B: 4 heads of d/8."""
    return Block(channels, 4, hidden, attention_dropout=0.2, hidden_dropout=DROPOUT, head_width=channels // 8)


class SpaceTime(nn.Module):
    """ST: patches see the patches of their frame, class tokens those of the clip's other frames; then a feed-forward
    part over all. 1,183,360 weights at 512 channels.

    Args:
        channels: d.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.space, self.time = (make_block(channels, hidden=None) for _ in range(2))
        self.feed_forward = feed_forward(channels, channels // 4, DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """``(... t 1+p d) -> (... t 1+p d)``."""
        token, patches = self.time(x[..., 0, :]), self.space(x[..., 1:, :])
        together = torch.cat([token.unsqueeze(-2), patches], dim=-2)
        fused: Tensor = together + self.feed_forward(together)
        return fused


class PostReasoning(nn.Module):
    """Everything that is trained: fusion, the three levels, and how a class's text joins its clips. 7,495,296 weights
    at 512 channels.

    Args:
        channels: d.

    Examples:
        >>> head = PostReasoning(16)
        >>> levels = head.levels([torch.rand(3, 8, 1 + 9, 16) for _ in range(3)])
        >>> {name: tuple(x.shape) for name, x in levels.items()}
        {'token': (3, 8, 16), 'frame': (3, 8, 16), 'patch': (3, 8, 9, 16)}
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fusion = nn.ModuleDict({number: SpaceTime(channels) for number in ("1", "2", "3")})
        self.within = nn.ModuleDict({level: make_block(channels, channels // 4) for level in LEVELS})
        self.joined = nn.ModuleDict({level: make_block(channels, channels // 4) for level in LEVELS})

    def levels(self, layers: Sequence[Tensor]) -> Parts:
        """``token``, ``frame (... t d)`` and ``patch (... t p d)`` of three layers of tokens ``(... t 1+p d)``."""
        fused = torch.zeros_like(layers[0])
        for layer, fuse in zip(layers, self.fusion.values(), strict=True):
            fused = fuse(fused + layer)
        patches = fused[..., 1:, :]
        token = self.within["token"](fused[..., 0, :])
        seen = self.within["patch"](torch.cat([token.unsqueeze(-2), patches], dim=-2))[..., 1:, :]
        frame = self.within["frame"](seen.mean(-2) + patches.mean(-2))
        return {"token": token, "frame": frame, "patch": seen}

    def join(self, levels: Parts, text: Tensor | None = None) -> Parts:
        """What clips are compared by, ``(... t d)`` of each level, with their class's text ``(... d)`` or without."""
        found = {}
        for level, x in levels.items():
            sequence = x.transpose(-3, -2) if level == "patch" else x  # (... p t d): frames come before channels
            if text is None:
                changed = self.joined[level](sequence)
            else:
                word = text.to(x.dtype)[(..., *((None,) * (sequence.dim() - text.dim())), slice(None))]
                seen = torch.cat([sequence, word.expand(*sequence.shape[:-2], 1, -1)], dim=-2)
                changed = self.joined[level](sequence + word, seen)
            found[level] = changed.mean(-3) if level == "patch" else changed
        return found
