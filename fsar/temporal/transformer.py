"""CLIP-FSAR's temporal Transformer.

Wang et al., "CLIP-guided Prototype Modulating for Few-shot Action Recognition", https://arxiv.org/abs/2303.02982,
section 3.3, in the form of the released code (https://github.com/alibaba-mmai-research/CLIP-FSAR).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TemporalTransformer(nn.Module):
    """Self-attention over the tokens of a clip; ``depth`` blocks, each with its own weights::

        a = LN(x);  y = dropout(softmax(q kᵀ / sqrt(d/heads)) v W_o + b_o) + x,   q, k, v = a W_q, a W_k, a W_v
        z = dropout(W_2 dropout(GELU(W_1 y + b_1)) + b_2) + y

    Tokens carry no position, so the module is equivariant to their permutation; order enters by the alignment.

    Args:
        channels: ``d``.
        depth: number of blocks.
        heads: attention heads, of ``d / heads`` channels each.
        hidden: width of the feed-forward part, the same for every ``d`` as released.
        attention_dropout: dropout after the attention's output projection.
        hidden_dropout: dropout inside and after the feed-forward part.
        hidden_norm: normalise before the feed-forward part. The released code does not.
        positions: number of learned positions added to the tokens, 0 for none as released.
        zero_init: start as the identity (both output projections are zero), so that a head on strong frozen features
            begins at their accuracy. Ours; the released code does not.
        head_width: channels of a head; ``d / heads`` when not given.

    Examples:
        >>> TemporalTransformer(channels=64)(torch.rand(3, 8, 64)).shape
        torch.Size([3, 8, 64])
    """

    def __init__(
        self,
        channels: int,
        depth: int = 1,
        heads: int = 8,
        hidden: int = 2048,
        attention_dropout: float = 0.2,
        hidden_dropout: float = 0.05,
        hidden_norm: bool = False,
        positions: int = 0,
        zero_init: bool = False,
        head_width: int | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"TemporalTransformer: depth must be at least 1, found {depth}.")
        if head_width is None and channels % heads:
            raise ValueError(f"heads={heads} must divide the {channels} channels of the features.")
        self.channels = channels
        self.positions = nn.Parameter(torch.randn(positions, channels) * 0.02) if positions else None
        self.blocks = nn.ModuleList(
            Block(channels, heads, hidden, attention_dropout, hidden_dropout, hidden_norm, head_width)
            for _ in range(depth)
        )
        if zero_init:
            for name, parameter in self.blocks.named_parameters():
                if ".to_out." in name or ".feed_forward.4." in name:
                    nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(... l d) -> (... l d)``."""
        x = tokens.flatten(0, -3) if tokens.dim() > 3 else tokens
        if self.positions is not None:
            if x.shape[-2] > len(self.positions):
                raise ValueError(
                    f"a clip has {x.shape[-2]} tokens, but there are {len(self.positions)} positions: give more "
                    "positions or fewer data.frames."
                )
            x = x + self.positions[: x.shape[-2]]
        for block in self.blocks:
            x = block(x)
        return x.reshape(tokens.shape)


def feed_forward(channels: int, hidden: int, dropout: float, norm: bool = False) -> nn.Sequential:
    """The feed-forward part of a block, without its residual."""
    return nn.Sequential(
        nn.LayerNorm(channels) if norm else nn.Identity(),
        nn.Linear(channels, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, channels),
        nn.Dropout(dropout),
    )


class Block(nn.Module):
    """One block of :class:`TemporalTransformer`; what its tokens attend to may be others than themselves.
    Without ``hidden`` it is the attention alone."""

    def __init__(
        self,
        channels: int,
        heads: int,
        hidden: int | None,
        attention_dropout: float,
        hidden_dropout: float,
        hidden_norm: bool = False,
        head_width: int | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        width = channels if head_width is None else heads * head_width
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, width, bias=False)
        self.to_k = nn.Linear(channels, width, bias=False)
        self.to_v = nn.Linear(channels, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, channels), nn.Dropout(attention_dropout))
        self.feed_forward = None if hidden is None else feed_forward(channels, hidden, hidden_dropout, hidden_norm)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """``(... l d) -> (... l d)``; the tokens see ``memory (... m d)``, or themselves when there is none."""
        a = self.norm(x)
        seen = a if memory is None else self.norm(memory)
        given = (a, seen, seen)
        q, k, v = (
            linear(y).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for linear, y in zip(self.projections, given, strict=True)
        )
        o = nn.functional.scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2)
        y = self.to_out(o) + x
        return y if self.feed_forward is None else self.feed_forward(y) + y

    @property
    def projections(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """Query, key and value projections, in this order."""
        return self.to_q, self.to_k, self.to_v
