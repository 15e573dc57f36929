"""TRX: cross-attention between tuples of frames (Perrett et al. 2021, https://arxiv.org/abs/2101.06184, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from episodes.words import pluralise
from fsar.alignment.base import FORBIDDEN, Alignment, check_clips, full_precision, widen
from fsar.alignment.finite import check_clip_lengths
from fsar.alignment.per_query.chunks import Clips, chunk_size, over_queries, spread


class TRX(Alignment):
    """Distance of every query tuple to the class's tuples as attention gathers them for it; mean over cardinalities.

    ``logit_c = -1/M Σ_m |V_m - Σ_s softmax_s(K_m · K_s / √D) V_s|²``, where s runs over the tuples of *all* shots of
    the class, so it merges the shots itself: support is ``(... n k u d)``.

    Source: Perrett et al. 2021, https://arxiv.org/abs/2101.06184, section 3, in the form of the released code
    (https://github.com/tobyperrett/trx): layer norm on the keys only, squared distance divided by the number of query
    tuples. The projection of a tuple is the sum of its frames' projections, so tuples are never concatenated.
    Cost: C(t,ω) C(u,ω) k per pair. Sees order: weakly (ordered tuples, positions). Symmetric: no.

    Keys and values belong to one clip alone: :meth:`project` makes them, :meth:`match` compares them, and
    :meth:`forward` does both, so that an evaluation projects every video once.

    Args:
        channels: d of the frame features.
        cardinalities: frames in a tuple, one attention for each.
        width: D, channels of keys and values.
        dropout: on the frames with their positions, while training.
        queries_per_chunk: queries, of all episodes together, that are compared at a time; by default 8 on a CPU and
            256 elsewhere. With M tuples of a clip a chunk makes tensors of ``queries_per_chunk · n · M`` times k M
            (twice) and D (twice) numbers: about 22 MB for 8 queries, 5 ways, 1 shot, 8 frames and D = 1152.

    Raises:
        ValueError: for no cardinality, or one below 1.

    Examples:
        >>> metric = TRX(channels=16, width=8)  # it compares all shots of a class at once
        >>> metric(torch.rand(3, 8, 16), torch.rand(5, 2, 8, 16)).shape  # (q t d), (n k u d) -> (q n)
        torch.Size([3, 5])
    """

    merges_shots = True

    def __init__(
        self,
        channels: int,
        cardinalities: Sequence[int] = (2, 3),
        width: int = 1152,
        dropout: float = 0.1,
        queries_per_chunk: int | None = None,
    ) -> None:
        super().__init__()
        if not cardinalities or min(cardinalities) < 1:
            raise ValueError(f"TRX: cardinalities must name tuples of 1 frame or more, found {list(cardinalities)}.")
        self.channels = channels
        self.cardinalities = list(cardinalities)
        self.queries_per_chunk = queries_per_chunk
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
        check_clip_lengths(widen(query, query_mask), widen(support, support_mask))
        own, others = self.project(query, query_mask), self.project(support, support_mask)
        return self.match(own, others, *(self.real_tuples(mask) for mask in (query_mask, support_mask)))

    def project(self, frames: Tensor, mask: Tensor | None = None) -> Clips:
        """Keys and values of the tuples of clips ``(... t d)``: ``keys<i>`` and ``values<i>``, ``(... m D)`` each, for
        the i-th cardinality.

        Args:
            frames: ``(... t d)``.
            mask: ``(... t)`` bool, true on real frames.

        Raises:
            ValueError: when a clip has fewer frames than a tuple.
        """
        with full_precision(frames):
            clips = widen(frames, mask) + 0.1 * sinusoids(frames.shape[-2], self.channels, frames.device)
            clips = self.dropout(clips)
            check_clip_lengths(clips, clips)
            found = {}
            for i, attention in enumerate(self.transformers):
                found[f"keys{i}"], found[f"values{i}"] = attention(clips, mask)
            return found

    def real_tuples(self, mask: Tensor | None) -> Clips:
        """Which tuples have no padding, ``real<i> (... m)`` for the i-th cardinality; nothing without a mask."""
        if mask is None:
            return {}
        tuples = (frame_tuples(mask.shape[-1], cardinality, mask.device) for cardinality in self.cardinalities)
        return {f"real{i}": mask[..., numbers].all(-1) for i, numbers in enumerate(tuples)}

    def match(
        self, query: Clips, support: Clips, query_real: Clips | None = None, support_real: Clips | None = None
    ) -> Tensor:
        """Similarity ``(... q n)`` of what :meth:`project` made of queries ``(... q t d)`` and of the shots of every
        class, ``(... n k u d)``; ``queries_per_chunk`` at a time.

        Args:
            query: keys and values ``(... q m D)``.
            support: keys and values ``(... n k m D)``.
            query_real: as :meth:`real_tuples` gives it.
            support_real: likewise.
        """
        own, others = query["keys0"], support["keys0"]
        lead = torch.broadcast_shapes(own.shape[:-3], others.shape[:-4])
        size = chunk_size(self.queries_per_chunk, own.device, on_cpu=8)
        with full_precision(own):
            queries = spread({**query, **(query_real or {})}, own.dim() - 3, lead)
            supports = spread({**support, **(support_real or {})}, others.dim() - 4, lead)
            return over_queries(self._compare, queries, supports, len(lead), size)["similarity"]

    def _compare(self, query: Clips, support: Clips) -> Clips:
        names = [(f"keys{i}", f"values{i}", f"real{i}") for i in range(len(self.transformers))]
        logits = [
            match_tuples(
                (query[keys], query[values]),
                (support[keys].flatten(-3, -2), support[values].flatten(-3, -2)),
                query.get(real),
                support[real].flatten(-2) if real in support else None,
            )
            for keys, values, real in names
        ]
        return {"similarity": torch.stack(logits).mean(0)}


def match_tuples(
    query: tuple[Tensor, Tensor], support: tuple[Tensor, Tensor], query_real: Tensor | None, support_real: Tensor | None
) -> Tensor:
    """``-1/M Σ_m |V_m - Σ_s softmax_s(K_m · K_s / √D) V_s|²`` (section 3.2, equations 5 to 8).

    Args:
        query: keys and values ``(... q m D)``.
        support: keys and values ``(... n s D)`` of all tuples of a class.
        query_real: ``(... q m)`` bool, false on tuples with padding.
        support_real: ``(... n s)`` bool.

    Returns:
        ``(... q n)``.
    """
    (q_keys, q_values), (s_keys, s_values) = query, support
    scores = q_keys.flatten(-3, -2) @ s_keys.flatten(-3, -2).mT / math.sqrt(q_keys.shape[-1])  # (... qm ns)
    scores = scores.unflatten(-1, s_keys.shape[-3:-1]).movedim(-2, -3)  # (... n qm s)
    if support_real is not None:
        scores = scores.masked_fill(~support_real[..., None, :], FORBIDDEN)
    gathered = (scores.softmax(-1) @ s_values).unflatten(-2, q_keys.shape[-3:-1])  # (... n q m D)
    distance = (
        torch.linalg.vector_norm(q_values.unsqueeze(-4) - gathered, dim=-1).square().movedim(-3, -2)
    )  # (... q n m)
    if query_real is None:
        return -distance.mean(-1)
    return -(distance * query_real[..., None, :]).sum(-1) / query_real.sum(-1)[..., None]


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

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values ``(... m D)`` of the tuples of clips ``(... t d)``."""
        frames = clips.shape[-2]
        fewest = frames if mask is None or torch.compiler.is_compiling() else int(mask.sum(-1).min())
        if fewest < self.cardinality:
            raise ValueError(
                f"TRX: a clip of {pluralise(fewest, 'frame')} has no tuples of {self.cardinality}; give longer "
                "clips or smaller cardinalities."
            )
        keys, values = (
            project_tuples(clips, x.weight, x.bias, self.cardinality) for x in (self.k_linear, self.v_linear)
        )
        return self.norm_k(keys), values


def project_tuples(clips: Tensor, weight: Tensor, bias: Tensor, cardinality: int) -> Tensor:
    """``W τ + b`` of the ordered tuples τ of frames: ``(... t d)``, W ``(D ωd)`` and b ``(D)`` to ``(... m D)``."""
    tuples = frame_tuples(clips.shape[-2], cardinality, clips.device)
    blocks = weight.unflatten(1, (cardinality, -1))  # (D ω d): each place in a tuple has its own
    places = [(clips @ blocks[:, i].mT)[..., tuples[:, i], :] for i in range(cardinality)]
    return sum(places, start=bias)


def frame_tuples(frames: int, cardinality: int, device: torch.device | None = None) -> Tensor:
    """Frame numbers ``(m ω)`` of the ordered tuples of a clip."""
    return torch.tensor(list(combinations(range(frames), cardinality)), device=device)


def sinusoids(frames: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Positions ``(t d)``: ``sin(t · 10000^(-2i/d))`` in channel 2i and the cosine in 2i + 1."""
    angle = torch.arange(frames, device=device)[:, None] * 10000.0 ** (
        -torch.arange(0, channels, 2, device=device) / channels
    )
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[:, :channels]
