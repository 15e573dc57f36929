"""EVL: a Transformer decoder beside the frozen tower, with time in its keys and values.

Lin et al. 2022, "Frozen CLIP Models are Efficient Video Learners", https://arxiv.org/abs/2208.03550, section 3;
released code https://github.com/OpenGVLab/efficient-video-recognition. There the learned query stays zero at first,
since its initialiser is never called, and the tower's features are changed in place; here neither.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from fsar.adapters.base import Block, Side, SideNetwork, Tower


class EVL(Side):
    """The last layers' tokens, enriched with time, read by a decoder.

    For each of the last ``layers`` blocks, with its output ``o`` and its attention's own ``q``, ``k``::

        y = o + DWConv_t(o) + pos_t + CA(q, k)        CA: attention to the neighbour frames, as a map per offset
        x <- x + MHA(LN x, LN y, LN y);  x <- x + MLP(LN x)

    Args:
        frames: ``t`` of the learned frame positions.
        layers: last blocks that are read.
        output: "frames", the decoder's query reads each frame for itself (ours, for alignments); "video", it reads
            the tokens of all frames and gives one vector a clip, as published.
        dropout: inside the decoder's feed-forward part.

    32,874,240 trained weights beside ViT-B/16 at 224 px at the defaults.

    >>> from fsar.encoders import Beside, ClipEncoder
    >>> encoder = Beside(ClipEncoder("fsar-tiny", "shapes"), EVL(layers=2))
    >>> encoder(torch.zeros(1, 8, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([1, 8, 96])
    """

    def __init__(
        self,
        frames: int = 8,
        layers: int = 4,
        output: Literal["frames", "video"] = "frames",
        dropout: float = 0.5,
    ) -> None:
        self.frames = frames
        self.layers = layers
        self.output = output
        self.dropout = dropout

    def network(self, tower: Tower, blocks: nn.ModuleList | nn.Sequential) -> EVLNetwork:
        if not 1 <= self.layers <= tower.layers:
            raise ValueError(f"EVL: layers={self.layers}, but the tower has {tower.layers} blocks.")
        return EVLNetwork(tower, self.frames, self.layers, self.output == "frames", self.dropout)


class EVLNetwork(SideNetwork):
    """What :class:`EVL` puts beside the tower."""

    def __init__(self, tower: Tower, frames: int, layers: int, per_frame: bool, dropout: float) -> None:
        super().__init__()
        self.layers = tuple(range(tower.layers - layers, tower.layers + 1))
        self.channels = tower.width
        self.frames = frames
        self.per_frame = per_frame
        self.time = nn.ModuleList(TimeFeatures(tower, frames) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderBlock(tower.width, tower.heads, dropout) for _ in range(layers))
        self.query = nn.Parameter(0.02 * torch.randn(tower.width))

    def forward(self, states: tuple[Tensor, ...], blocks: nn.ModuleList | nn.Sequential) -> Tensor:
        """See :meth:`fsar.adapters.base.SideNetwork.forward`; ``t`` becomes 1 with ``output="video"``."""
        b, t = states[0].shape[:2]
        x = self.query.expand(b * t if self.per_frame else b, 1, -1)
        read = list(blocks)[-len(self.time) :]
        for block, before, after, time, decoder in zip(read, states, states[1:], self.time, self.decoder, strict=False):
            y = time(before, after, block)
            x = decoder(x, y.flatten(0, 1) if self.per_frame else y.flatten(1, 2))
        return x.unflatten(0, (b, t)).squeeze(2) if self.per_frame else x


class TimeFeatures(nn.Module):
    """``y`` of one layer.

    Args:
        tower: its shape.
        frames: ``t``.
    """

    def __init__(self, tower: Tower, frames: int) -> None:
        super().__init__()
        self.grid = tower.grid
        self.conv = nn.Conv1d(tower.width, tower.width, 3, padding=1, groups=tower.width)
        self.positions = nn.Parameter(torch.zeros(frames, tower.width))
        offsets = (2 * tower.grid[0] - 1) * (2 * tower.grid[1] - 1)
        self.before, self.after = (nn.Parameter(torch.zeros(offsets, tower.width)) for _ in range(2))

    def forward(self, before: Tensor, after: Tensor, block: Block) -> Tensor:
        """State before and after the block, ``(b t 1+p D)`` each, to ``y (b t 1+p D)``."""
        t, tokens = after.shape[1:3]
        if t != len(self.positions):
            raise ValueError(f"EVL was made for frames={len(self.positions)}, but the clips have {t} frames.")
        moved = rearrange(self.conv(rearrange(after, "b t l d -> (b l) d t")), "(b l) d t -> b t l d", l=tokens)
        y = after + moved + self.positions[:, None]
        crossed = F.pad(self.cross(*self.query_key(before, block)), (0, 0, 1, 0))  # nothing for the class token
        return y + crossed

    @torch.no_grad()
    def query_key(self, before: Tensor, block: Block) -> tuple[Tensor, Tensor]:
        """The block's own queries and keys of the patches, ``(b t h p c)``, queries scaled."""
        attention, width = block.attn, before.shape[-1]
        weight, bias = attention.in_proj_weight[: 2 * width], attention.in_proj_bias[: 2 * width]
        normed = block.ln_1(before.to(weight.dtype))[:, :, 1:]
        projected = F.linear(normed, weight, bias).float()
        q, k = rearrange(projected, "b t p (two h c) -> two b t h p c", two=2, h=attention.num_heads)
        return q * q.shape[-1] ** -0.5, k

    def cross(self, q: Tensor, k: Tensor) -> Tensor:
        """What the patches attend to in the frame before and the frame after, as sums over offsets: ``(b t p D)``."""
        h, w = self.grid
        rows, columns = (x.flatten().to(q.device) for x in torch.meshgrid(*map(torch.arange, (h, w)), indexing="ij"))
        offset = (rows[:, None] - rows + h - 1) * (2 * w - 1) + columns[:, None] - columns + w - 1  # (p p)
        back = (q[:, 1:] @ k[:, :-1].mT).softmax(-1).mean(2)  # (b t-1 p p)
        ahead = (q[:, :-1] @ k[:, 1:].mT).softmax(-1).mean(2)
        return F.pad(_by_offset(back, offset, self.before), (0, 0, 0, 0, 1, 0)) + F.pad(
            _by_offset(ahead, offset, self.after), (0, 0, 0, 0, 0, 1)
        )


def _by_offset(attention: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """``Σ_b A(a, b) w[offset(a, b)]``: ``(... p p)`` to ``(... p D)``, without a ``p p D`` tensor."""
    sums = attention.new_zeros(*attention.shape[:-1], len(weight))
    return sums.scatter_add(-1, offset.expand(attention.shape), attention) @ weight


class DecoderBlock(nn.Module):
    """Cross-attention of the query to the tokens, then a feed-forward part.

    Args:
        width: channels.
        heads: of the attention.
        dropout: inside the feed-forward part.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_query, self.norm_tokens, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``(b 1 D)`` reads ``(b l D)``."""
        y = self.norm_tokens(y)
        x = x + self.attention(self.norm_query(x), y, y, need_weights=False)[0]
        z = self.fc(self.norm_mlp(x))
        return x + self.proj(self.dropout(z * torch.sigmoid(1.702 * z)))
