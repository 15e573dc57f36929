"""TRX: cross-attention between tuples of frames (Perrett et al. 2021, https://arxiv.org/abs/2101.06184, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from fsar.alignment.base import FORBIDDEN, Alignment, check_clips, full_precision, widen
from fsar.alignment.finite import check_clip_lengths


class TRX(Alignment):
    """Distance of every query tuple to the class's tuples as attention gathers them for it; mean over cardinalities.

    ``logit_c = -1/M Σ_m |V_m - Σ_s softmax_s(K_m · K_s / √D) V_s|²``, where s runs over the tuples of *all* shots of
    the class, so it merges the shots itself: support is ``(... n k u d)``.

    Source: Perrett et al. 2021, https://arxiv.org/abs/2101.06184, section 3, in the form of the released code
    (https://github.com/tobyperrett/trx): layer norm on the keys only, squared distance divided by the number of query
    tuples. The projection of a tuple is the sum of its frames' projections, so tuples are never concatenated.
    Cost: C(t,ω) C(u,ω) k per pair. Sees order: weakly (ordered tuples, positions). Symmetric: no.

    Args:
        channels: d of the frame features.
        cardinalities: frames in a tuple, one attention for each.
        width: D, channels of keys and values.
        dropout: on the frames with their positions, while training.

    Examples:
        >>> metric = TRX(channels=16, width=8)  # it compares all shots of a class at once
        >>> metric(torch.rand(3, 8, 16), torch.rand(5, 2, 8, 16)).shape  # (q t d), (n k u d) -> (q n)
        torch.Size([3, 5])
    """

    merges_shots = True

    def __init__(
        self, channels: int, cardinalities: Sequence[int] = (2, 3), width: int = 1152, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.channels = channels
        self.dropout = nn.Dropout(dropout)
        self.transformers = nn.ModuleList(TupleAttention(channels, c, width) for c in cardinalities)

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """Similarity ``(... q n)``.

        Args:
            query: ``(... q t d)``.
            support: ``(... n k u d)``, all shots of every class.
            query_mask: ``(... q t)`` bool, true on real frames.
            support_mask: ``(... n k u)`` bool.

        Raises:
            ValueError: when a clip has fewer frames than a tuple.
        """
        check_clips(query, support, "n k u d")
        with full_precision(query):
            query, support = (
                self.dropout(widen(x, m) + 0.1 * sinusoids(x.shape[-2], self.channels, x.device))
                for x, m in ((query, query_mask), (support, support_mask))
            )
            check_clip_lengths(query, support)
            logits = [attention(query, support, query_mask, support_mask) for attention in self.transformers]
            return torch.stack(logits).mean(0)


class TupleAttention(nn.Module):
    """One cardinality of :class:`TRX`; parameter names are those of the released code (whose ``norm_v`` is unused).

    Args:
        channels: d of the frame features.
        cardinality: ω, frames in a tuple.
        width: D, channels of keys and values.
    """

    def __init__(self, channels: int, cardinality: int, width: int) -> None:
        super().__init__()
        self.cardinality = cardinality
        self.k_linear = nn.Linear(channels * cardinality, width)
        self.v_linear = nn.Linear(channels * cardinality, width)
        self.norm_k = nn.LayerNorm(width)

    def forward(self, query: Tensor, support: Tensor, query_mask: Tensor | None, support_mask: Tensor | None) -> Tensor:
        """``(... q t d), (... n k u d)`` to logits ``(... q n)``."""
        q_tuples, q_real = self._tuples(query, query_mask)
        s_tuples, s_real = self._tuples(support, support_mask)
        q_keys, q_values = self._project(query, q_tuples)  # (... q m D)
        s_keys, s_values = (x.flatten(-3, -2) for x in self._project(support, s_tuples))  # (... n km D)
        scores = q_keys.flatten(-3, -2) @ s_keys.flatten(-3, -2).mT / math.sqrt(q_keys.shape[-1])  # (... qm nkm)
        scores = scores.unflatten(-1, s_keys.shape[-3:-1]).movedim(-2, -3)  # (... n qm km)
        if s_real is not None:
            scores = scores.masked_fill(~s_real.flatten(-2)[..., None, :], FORBIDDEN)
        gathered = (scores.softmax(-1) @ s_values).unflatten(-2, q_keys.shape[-3:-1])  # (... n q m D)
        distance = (q_values.unsqueeze(-4) - gathered).square().sum(-1).movedim(-3, -2)  # (... q n m)
        if q_real is None:
            return -distance.mean(-1)
        return -(distance * q_real[..., None, :]).sum(-1) / q_real.sum(-1)[..., None]

    def _tuples(self, clips: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Frame numbers ``(m ω)`` of the ordered tuples, and which have no padding, ``(... m)``."""
        frames = clips.shape[-2]
        fewest = frames if mask is None or torch.compiler.is_compiling() else int(mask.sum(-1).min())
        if fewest < self.cardinality:
            raise ValueError(
                f"TRX: a clip of {fewest} frames has no tuples of {self.cardinality}; give longer clips or smaller "
                "cardinalities."
            )
        tuples = torch.tensor(list(combinations(range(frames), self.cardinality)), device=clips.device)
        return tuples, None if mask is None else mask[..., tuples].all(-1)

    def _project(self, clips: Tensor, tuples: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``(... m D)`` of tuples: each place in the tuple has its own block of the weight matrix."""
        both = []
        for linear in (self.k_linear, self.v_linear):
            blocks = linear.weight.unflatten(1, (self.cardinality, -1))  # (D ω d)
            places = [(clips @ blocks[:, i].mT)[..., tuples[:, i], :] for i in range(self.cardinality)]
            both.append(sum(places, start=linear.bias))
        return self.norm_k(both[0]), both[1]


def sinusoids(frames: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Positions ``(t d)``: ``sin(t · 10000^(-2i/d))`` in channel 2i and the cosine in 2i + 1."""
    angle = torch.arange(frames, device=device)[:, None] * 10000.0 ** (
        -torch.arange(0, channels, 2, device=device) / channels
    )
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[:, :channels]
