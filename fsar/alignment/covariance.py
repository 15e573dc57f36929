"""TS-FSAR: α-distance covariance of every frame, matched with task-specific weights.

Long et al., https://arxiv.org/abs/2512.11340. The descriptor is a pure function of a frame's class token and patches;
any alignment can compare descriptors, and :class:`AlphaDistance` compares them as the paper does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsar.alignment.base import Alignment, check_clips, full_precision, pair_mask, widen
from fsar.alignment.costs import CosineCost
from fsar.alignment.finite import check_clip_lengths


def alpha_covariance(class_tokens: Tensor, patches: Tensor, alpha: float = 0.4) -> Tensor:
    """Distance covariance between the channels of a frame, with exponent α on the squared distances.

    Patches are weighted by their cosine with the class token; the squared distances between channels over the patches
    (divided by 2p) are raised to α and double-centred; the upper triangle is the descriptor.

    Args:
        class_tokens: ``(... d)``.
        patches: ``(... p d)``.
        alpha: exponent; 0.4 in the paper.

    Returns:
        ``(... d(d+1)/2)`` float32 at least; 32,896 numbers for d = 256.
    """
    with full_precision(patches):
        z, y = widen(class_tokens), widen(patches)
        x = torch.nn.functional.cosine_similarity(z.unsqueeze(-2), y, dim=-1)[..., None] * y  # (... p d)
        gram = x.mT @ x / (2 * y.shape[-2])
        own = gram.diagonal(dim1=-2, dim2=-1)
        distance = (own[..., :, None] + own[..., None, :] - 2 * gram).clamp_min(0)
        # of a channel to itself: the slope of x^α there, thousands, must not meet the rounding of terms that cancel
        distance = distance.masked_fill(torch.eye(y.shape[-1], dtype=torch.bool, device=y.device), 0)
        a = (distance + 1e-5) ** alpha  # the slope of x^α is infinite at 0
        centred = a - a.mean(-1, keepdim=True) - a.mean(-2, keepdim=True) + a.mean((-2, -1), keepdim=True)
        row, column = torch.triu_indices(*centred.shape[-2:], device=centred.device)
        return centred[..., row, column]


class AlphaDistance(Alignment):
    """``Σ_{t,u} B(t,u) cos(v_t, v_u)`` with weights ``B = W g`` that the task chooses.

    ``g`` is the mean class token of all support frames of the episode plus that of the query's frames, so the weights
    depend on the query and not on the class. Features are descriptor and class token side by side: the method hands
    over ``torch.cat([alpha_covariance(z, y), z], -1)`` for every frame, ``(... t d(d+1)/2 + d)``, and averages shots as
    usual (the mean over prototypes is then the mean over all supports when every class has as many).

    Source: Long et al., https://arxiv.org/abs/2512.11340, task-specific matching; cosine with epsilon 0.01.
    Cost: t u d² per pair. Sees order: yes (one weight for every pair of places). Symmetric: no.

    Args:
        channels: d of the class tokens; 256 in the paper.
        frames: t of the query.
        support_frames: u of the support; t when not given.

    Examples:
        >>> query, support = torch.rand(3, 4, 136 + 16), torch.rand(5, 4, 136 + 16)  # descriptor and class token
        >>> AlphaDistance(channels=16, frames=4)(query, support).shape
        torch.Size([3, 5])
    """

    def __init__(self, channels: int, frames: int = 8, support_frames: int | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.shape = (frames, support_frames or frames)
        self.weights = nn.Linear(channels, self.shape[0] * self.shape[1], bias=False)
        self.cost = CosineCost()

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`fsar.alignment.base.Alignment.forward`.

        Raises:
            ValueError: when the clips have other numbers of frames or channels than the constructor was told.
        """
        check_clips(query, support)
        d = self.channels
        found = (query.shape[-2], support.shape[-2], query.shape[-1])
        if found != (*self.shape, d * (d + 1) // 2 + d):
            raise ValueError(
                f"AlphaDistance was made for {self.shape[0]} query and {self.shape[1]} support frames of "
                f"{d * (d + 1) // 2} + {d} channels (descriptor, class token); "
                f"found {found[0]}, {found[1]} and {found[2]}."
            )
        with full_precision(query):
            query, support = widen(query, query_mask), widen(support, support_mask)
            check_clip_lengths(query, support)
            real = pair_mask(query, support, query_mask, support_mask)
            similarity = 1 - self.cost(query[..., :-d], support[..., :-d])  # (... q n t u)
            task = _mean(query[..., -d:], query_mask, 1) + _mean(support[..., -d:], support_mask, 2).unsqueeze(-2)
            weights = self.weights(task).unflatten(-1, self.shape).unsqueeze(-3)  # (... q 1 t u)
            return (weights * (similarity if real is None else similarity * real)).sum((-2, -1))


def _mean(tokens: Tensor, mask: Tensor | None, axes: int) -> Tensor:
    """Mean over the last ``axes`` axes before the channels; padding is 0 already."""
    over = tuple(range(-1 - axes, -1))
    if mask is None:
        return tokens.mean(over)
    return tokens.sum(over) / mask.sum(tuple(range(-axes, 0)))[..., None]
