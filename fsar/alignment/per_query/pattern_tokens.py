"""TEAM: pattern tokens instead of an alignment (Lee et al. 2025, https://arxiv.org/abs/2504.05956, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fsar.alignment.base import Alignment, check_clips, full_precision, widen
from fsar.alignment.finite import check_clip_lengths
from fsar.alignment.per_query.cross_tuple import sinusoids


class PatternTokens(Alignment):
    """Clips of any length become M pattern tokens; classes are adapted to each other; tokens are compared one by one.

    Learnable patterns A (M d) attend to the frames, ``o(x) = softmax(LN(A) LN(x+PE)ᵀ / √(d/8)) LN(x+PE)``; positive and
    negative tokens are ``P± = relu(z + MLP(z))`` with ``z = A ± o``; a class's tokens S± are moved along its difference
    to every other class by their cosine. ``similarity = -(D_pos + D_neg)``; see :meth:`distances`.

    Source: Lee et al. 2025, https://arxiv.org/abs/2504.05956, sections 3. With one class there are no others
    to differ from, and only D_pos remains (ours).
    Cost: M (t + u) per clip and n² M per episode. Sees order: only through PE. Symmetric: no.

    Args:
        channels: d of the frame features.
        patterns: M; 50 to 80 in the paper.
        dropout: on the attention, while training.

    Examples:
        >>> metric = PatternTokens(channels=16, patterns=4)
        >>> metric(torch.rand(3, 8, 16), torch.rand(5, 8, 16)).shape
        torch.Size([3, 5])
    """

    def __init__(self, channels: int, patterns: int = 60, dropout: float = 0.1) -> None:
        super().__init__()
        self.channels = channels
        self.patterns = nn.Parameter(torch.randn(patterns, channels))
        self.norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`fsar.alignment.base.Alignment.forward`."""
        positive, negative = self.distances(query, support, query_mask, support_mask)
        return -(positive + negative)

    def distances(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """``D_pos`` and ``D_neg``, ``(... q n)`` each; the paper's loss is ``CE(-D_pos) + CE(-D_neg)``.

        ``D_pos(c) = Σ_m 1 - cos(S⁺_c, P⁺_q)``; ``D_neg(c) = ½ max_{j≠c} Σ_m 1 - cos(S⁺_j, P⁻_q) + ½ max_{j≠c} Σ_m
        1 - cos(S⁻_j, P⁺_q)``.
        """
        check_clips(query, support)
        check_clip_lengths(widen(query, query_mask), widen(support, support_mask))
        return self.compare(*self.query_tokens(query, query_mask), support, support_mask)

    def query_tokens(self, query: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``P⁺`` and ``P⁻`` of every clip by itself, ``(... t d)`` to ``(... M d)`` each."""
        with full_precision(query):
            seen = self._attend(query, mask)
            return self._tokens(seen), self._tokens(-seen)

    def compare(
        self, positive: Tensor, negative: Tensor, support: Tensor, support_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """:meth:`distances` of queries ``(... q M d)`` from :meth:`query_tokens` to classes ``(... n u d)``."""
        with full_precision(support):
            seen, ways = self._attend(support, support_mask), support.shape[-3]
            class_pos, class_neg = self._adapt(seen, 1), self._adapt(seen, -1)
            right = _token_distance(positive, class_pos)
            if ways == 1:
                return right, torch.zeros_like(right)
            wrong = _others(ways, _token_distance(negative, class_pos)).amax(-1)
            wrong = wrong + _others(ways, _token_distance(positive, class_neg)).amax(-1)
            return right, wrong / 2

    def _attend(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """``o(x)``: ``(... t d)`` to ``(... M d)``."""
        frames = self.norm(widen(clips, mask) + 0.1 * sinusoids(clips.shape[-2], self.channels, clips.device))
        scores = self.norm(self.patterns) @ frames.mT / math.sqrt(self.channels / 8)
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None, :], -torch.inf)
        return self.dropout(scores.softmax(-1)) @ frames

    def _tokens(self, seen: Tensor) -> Tensor:
        """``relu(z + MLP(z))`` with ``z = A + seen``."""
        z = self.patterns + seen
        return (z + self.mlp(z)).relu()

    def _adapt(self, seen: Tensor, sign: int) -> Tensor:
        """``S±``: class tokens moved by their likeness to the other classes, ``(... n M d)`` to ``(... n M d)``."""
        ways = seen.shape[-3]
        if ways == 1:
            return self._tokens(sign * seen)
        unit = _unit(self._tokens(sign * seen))
        alike = torch.einsum("...cmd,...jmd->...cjm", unit, unit)
        difference = seen.unsqueeze(-4) - seen.unsqueeze(-3)  # (... c j m d): o_j - o_c
        moved = self._tokens(sign * (seen.unsqueeze(-3) - alike[..., None] * difference))
        other = 1 - torch.eye(ways, device=seen.device, dtype=seen.dtype)
        return torch.einsum("...cjmd,cj->...cmd", moved, other) / (ways - 1)


def _others(ways: int, distance: Tensor) -> Tensor:
    """``(... q j)`` to ``(... q c j)`` with -inf where j = c."""
    same = torch.eye(ways, dtype=torch.bool, device=distance.device)
    return distance.unsqueeze(-2).masked_fill(same, -torch.inf)


def _token_distance(query: Tensor, support: Tensor) -> Tensor:
    """``Σ_m 1 - cos``: ``(... q M d), (... n M d)`` to ``(... q n)``."""
    return query.shape[-2] - _unit(query).flatten(-2) @ _unit(support).flatten(-2).mT


def _unit(x: Tensor) -> Tensor:
    """Unit vectors; a zero vector (all of a token's channels may end in the relu) stays zero."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1.0)
