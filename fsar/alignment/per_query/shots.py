"""Metrics that look at every shot of a class: one frame of the query at a time, or one shot at a time."""

from __future__ import annotations

import math

from torch import Tensor, nn

from fsar.alignment.base import FORBIDDEN, Alignment, check_clips, full_precision, widen
from fsar.alignment.finite import check_clip_lengths


class CrossTransformer(Alignment):
    """Each frame of the query against what attention gathers for it from all frames of a class's shots.

    ``similarity_c = mean_t cos(V f_t, Σ_s softmax_s(K f_t · K f_s / √D) V f_s)``, where s runs over the frames of all
    shots of c, so it merges the shots itself: support is ``(... n k u d)``.

    Source: Doersch et al. 2020, https://arxiv.org/abs/2007.11498, section 3.2, with frames in the place of patches and
    a cosine in that of the distance, as the baseline of HyRSM's repository has it
    (https://github.com/alibaba-mmai-research/HyRSM), which divides by 8 frames where this is the mean.
    Cost: t u k per pair. Sees order: no. Symmetric: no.

    Args:
        channels: d of the frame features.
        width: D, channels of keys and values; 1,024 in the release.

    Examples:
        >>> import torch
        >>> metric = CrossTransformer(channels=16, width=8)
        >>> metric(torch.rand(3, 8, 16), torch.rand(5, 2, 8, 16)).shape  # (q t d), (n k u d) -> (q n)
        torch.Size([3, 5])
    """

    merges_shots = True

    def __init__(self, channels: int, width: int = 1024) -> None:
        super().__init__()
        self.channels = channels
        self.key = nn.Linear(channels, width, bias=False)
        self.value = nn.Linear(channels, width, bias=False)

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """Similarity ``(... q n)`` of ``query (... q t d)`` with ``support (... n k u d)``; masks ``(... q t)`` and
        ``(... n k u)``, true on real frames."""
        check_clips(query, support, "n k u d")
        with full_precision(query):
            query, support = widen(query, query_mask), widen(support, support_mask)
            check_clip_lengths(query, support)
            own, others = query.unsqueeze(-3), support.flatten(-3, -2).unsqueeze(-4)  # (... q 1 t d), (... 1 n s d)
            scores = self.key(own) @ self.key(others).mT / math.sqrt(self.key.out_features)  # (... q n t s)
            if support_mask is not None:
                scores = scores.masked_fill(~support_mask.flatten(-2)[..., None, :, None, :], FORBIDDEN)
            gathered = scores.softmax(-1) @ self.value(others)  # (... q n t D)
            alike = nn.functional.cosine_similarity(self.value(own), gathered, dim=-1, eps=1e-12)
            if query_mask is None:
                return alike.mean(-1)
            real = query_mask.unsqueeze(-2)
            return (alike * real).sum(-1) / real.sum(-1)


class EachShot(Alignment):
    """Any alignment of single clips with every shot of a class, and the mean of the similarities.

    The other way to several shots, and that of most released baselines, beside the mean of the shots' frames. With one
    shot both are the same.

    Cost, order and symmetry are those of the part; the cost times k.

    Args:
        part: compares two clips; it must not merge shots itself.

    Raises:
        ValueError: when it does.

    Examples:
        >>> import torch
        >>> from fsar.alignment import OTAM
        >>> EachShot(OTAM())(torch.rand(3, 8, 16), torch.rand(5, 2, 8, 16)).shape  # (q t d), (n k u d) -> (q n)
        torch.Size([3, 5])
    """

    merges_shots = True

    def __init__(self, part: Alignment) -> None:
        super().__init__()
        if part.merges_shots:
            raise ValueError(
                f"EachShot compares one shot at a time, but {type(part).__name__} merges the shots itself: use it "
                "without EachShot."
            )
        self.part = part

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """Similarity ``(... q n)`` of ``query (... q t d)`` with ``support (... n k u d)``; masks ``(... q t)`` and
        ``(... n k u)``, true on real frames."""
        check_clips(query, support, "n k u d")
        check_clip_lengths(widen(query, query_mask), widen(support, support_mask))
        each = None if support_mask is None else support_mask.flatten(-3, -2)
        similarity: Tensor = self.part(query, support.flatten(-4, -3), query_mask, each)  # (... q nk)
        return similarity.unflatten(-1, support.shape[-4:-2]).mean(-1)
