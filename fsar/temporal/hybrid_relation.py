"""HyRSM's hybrid relation module: frames see their clip, and a query sees the clips that it is compared with.

Wang et al. 2022, "Hybrid Relation Guided Set Matching for Few-shot Action Recognition",
https://arxiv.org/abs/2204.13423, section 3.2, in the form of the released code
(https://github.com/alibaba-mmai-research/HyRSM); HyRSM++ (https://arxiv.org/abs/2301.03330) uses the same, and MoLo
(https://arxiv.org/abs/2304.00946) the positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Clips = dict[str, Tensor]
"""Named tensors of some clips, each with the same leading axes."""


class ScaledPositions(nn.Module):
    """``f √(d/A) + B PE``, with the positions ``PE(p, i) = sin(p / 10000^(2i/d))`` in even channels i and
    ``cos(p / 10000^(2i/d))`` in odd ones.

    The exponent counts channels, where the usual one counts pairs of them (``10000^(i/d)``): as released, and published
    numbers depend on it. Clips may have any number of frames.

    Args:
        channels: ``d``.
        scale: A.
        weight: B.
        dropout: of the result, while training.

    Examples:
        >>> ScaledPositions(channels=16)(torch.rand(3, 8, 16)).shape
        torch.Size([3, 8, 16])
    """

    def __init__(self, channels: int, scale: float = 10.0, weight: float = 1.0, dropout: float = 0.1) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"the scale A of the positions must be positive, found {scale}.")
        self.factor, self.weight = math.sqrt(channels / scale), weight
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """``(... t d) -> (... t d)``."""
        t, d = frames.shape[-2:]
        channel = torch.arange(d, device=frames.device)
        angle = torch.arange(t, device=frames.device)[:, None] / 10000.0 ** (2 * channel / d)
        positions = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
        out: Tensor = self.dropout(frames * self.factor + self.weight * positions)
        return out


class WithinClip(nn.Module):
    """``ReLU(x + dropout(softmax(q kᵀ / √(d/heads)) v W_o + b_o))`` with ``q, k, v = LN(x) W``, among a clip's frames.

    Args:
        channels: ``d``.
        heads: attention heads.
        dropout: after the output projection.

    Examples:
        >>> WithinClip(channels=16)(torch.rand(3, 8, 16)).shape
        torch.Size([3, 8, 16])
    """

    def __init__(self, channels: int, heads: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels), nn.Dropout(dropout))

    def forward(self, frames: Tensor) -> Tensor:
        """``(... t d) -> (... t d)``."""
        q, k, v = (split_heads(x, self.heads) for x in self.to_qkv(self.norm(frames)).chunk(3, -1))
        mixed = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
        return (self.to_out(mixed.transpose(-3, -2).flatten(-2)) + frames).relu()


class AcrossClips(nn.Module):
    """``ReLU(LN(x + dropout(softmax(q kᵀ / √(d/heads)) v W_o + b_o)))`` among one token a clip.

    q, k and v have no bias: they are linear in the token, belong to one clip and average over shots.

    Args:
        channels: ``d``.
        heads: attention heads.
        dropout: after the output projection.
        attention_dropout: of the attention's weights.
    """

    def __init__(self, channels: int, heads: int = 8, dropout: float = 0.05, attention_dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        for linear in (self.to_q, self.to_k, self.to_v):
            nn.init.normal_(linear.weight, std=math.sqrt(2 / (channels + channels // heads)))
        self.to_out = nn.Linear(channels, channels)
        nn.init.xavier_normal_(self.to_out.weight)
        self.norm = nn.LayerNorm(channels)
        self.dropout, self.attention_dropout = nn.Dropout(dropout), nn.Dropout(attention_dropout)

    def project(self, token: Tensor) -> Clips:
        """What the attention needs of a clip's token ``(... d)``: itself, q, k and v."""
        return {"token": token, "q": self.to_q(token), "k": self.to_k(token), "v": self.to_v(token)}

    def forward(self, tokens: Clips) -> Tensor:
        """What :meth:`project` gave of clips that see each other, ``(... l d)`` each, to ``(... l d)``."""
        q, k, v = (split_heads(tokens[name], self.heads) for name in "qkv")
        attention = self.attention_dropout((q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1))
        mixed = self.to_out((attention @ v).transpose(-3, -2).flatten(-2))
        out: Tensor = self.norm(self.dropout(mixed) + tokens["token"]).relu()
        return out


class HybridRelation(nn.Module):
    """Support clips as they are for one query, and the query as it is beside them::

        z = WithinClip(f √(d/A) + B PE)                                          (t d) of every clip
        r = AcrossClips([mean_t z of every support clip; mean_t z of the query])    (s+1 d), for every query
        g = W [z; r of its clip] + b                                             support (q s t d), query (q t d)

    As ``W [z; r] = W_1 z + W_2 r``, W_1 z + b belongs to one clip, and so do the mean over t and the projections of the
    attention: :meth:`clip_parts` computes them once a clip. All are linear in z, so that they average over shots.

    Args:
        channels: ``d``.
        heads: of both attentions.
        position_scale: A; 10 for most published data sets.
        position_weight: B.

    Raises:
        ValueError: when the heads do not divide the channels.

    16,783,360 weights within clips, as many across and 8,390,656 in W for 2,048 channels.

    Examples:
        >>> relation = HybridRelation(channels=16)
        >>> query, support = (relation.clip_parts(torch.rand(clips, 8, 16)) for clips in (3, 5))
        >>> [tuple(x.shape) for x in relation(query, support)]
        [(3, 8, 16), (3, 5, 8, 16)]
    """

    def __init__(
        self, channels: int, heads: int = 8, position_scale: float = 10.0, position_weight: float = 1.0
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads={heads} must divide the {channels} channels of the features.")
        self.channels = channels
        self.positions = ScaledPositions(channels, position_scale, position_weight)
        self.within = WithinClip(channels, heads)
        self.across = AcrossClips(channels, heads)
        self.join = nn.Linear(2 * channels, channels)

    def clip_parts(self, features: Tensor) -> Clips:
        """What belongs to one clip, from its frame features ``(... t d)``: z under ``within``, W_1 z + b under
        ``frames``, and under ``token``, ``q``, ``k``, ``v`` what :class:`AcrossClips` reads, ``(... d)``."""
        within = self.within(self.positions(features))
        first = self.join.weight[:, : self.channels]
        frames = nn.functional.linear(within, first, self.join.bias)
        return {"within": within, "frames": frames, **self.across.project(within.mean(-2))}

    def forward(self, query: Clips, support: Clips) -> tuple[Tensor, Tensor]:
        """Frames of the queries ``(... q t d)`` and of the supports for each of them ``(... q s t d)``.

        Args:
            query: :meth:`clip_parts` of the queries, ``(... q *)``.
            support: of the support clips or prototypes, ``(... s *)``.
        """
        queries = query["token"].shape[-2]
        tokens = {}
        for name in ("token", "q", "k", "v"):
            others = support[name].unsqueeze(-3).expand(*query[name].shape[:-2], queries, -1, -1)  # (... q s d)
            tokens[name] = torch.cat([others, query[name].unsqueeze(-2)], dim=-2)  # (... q s+1 d)
        second = self.join.weight[:, self.channels :]
        relation = nn.functional.linear(self.across(tokens), second)
        supports = support["frames"].unsqueeze(-4) + relation[..., :-1, None, :]
        return query["frames"] + relation[..., -1:, :], supports


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(... l d)`` to ``(... heads l d/heads)``."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)
