"""Pairwise frame costs: how unlike one query frame and one support frame are.

A cost is a part that is handed to an alignment. Write your own by subclassing :class:`PairwiseCost`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fsar.alignment.finite import check_lengths


class PairwiseCost(nn.Module):
    """Every query frame against every support frame; lower is more alike.

    Examples:
        >>> from fsar.alignment import OTAM
        >>> class Manhattan(PairwiseCost):
        ...     def forward(self, query, support):
        ...         return torch.cdist(query[..., :, None, :, :], support[..., None, :, :, :], p=1)
        >>> OTAM(cost=Manhattan())(torch.rand(3, 8, 16), torch.rand(5, 8, 16)).shape
        torch.Size([3, 5])
    """

    def forward(self, query: Tensor, support: Tensor) -> Tensor:
        """Frame costs of every (query, support) pair.

        Args:
            query: ``(... q t d)``, float32 or float64.
            support: ``(... n u d)``; leading axes broadcast.

        Returns:
            ``(... q n t u)``: rows are query frames, columns are support frames.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(query, support).")


class CosineCost(PairwiseCost):
    """One minus the cosine of two frames: ``1 - <x, y> / (|x| |y| + epsilon)``, in [0, 2].

    A zero vector has similarity 0 with everything, and a finite gradient. Only ``epsilon=0`` is scale invariant.

    Source: the released code of CLIP-FSAR, MoLo, TS-FSAR and the OTAM of the TRX lineage *adds* 0.01 to the product of
    the norms (a unit vector is then 0.990 similar to itself); HyRSM and D2ST-Adapter use the plain cosine.

    Args:
        epsilon: added to the product of the norms; 0.01 is what published numbers depend on, 0 the plain cosine.

    Examples:
        >>> frames = torch.eye(2)[None]  # one clip of two orthogonal frames
        >>> CosineCost(epsilon=0.0)(frames, frames)
        tensor([[[[0., 1.],
                  [1., 0.]]]])
    """

    def __init__(self, epsilon: float = 0.01) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, query: Tensor, support: Tensor) -> Tensor:
        """``(... q t d), (... n u d)`` to ``(... q n t u)``.

        Raises:
            FloatingPointError: for features that overflow; see :func:`fsar.alignment.finite.check_lengths`.
        """
        own_query, own_support = _norm(query), _norm(support)
        check_lengths(own_query, own_support)
        norms = _outer(own_query, own_support, torch.mul)
        norms = norms + self.epsilon if self.epsilon else norms.masked_fill(norms == 0, 1.0)
        return 1 - _products(query, support) / norms


class SquaredEuclideanCost(PairwiseCost):
    """``|x - y|²``, in squared units of the features; not scale invariant.

    Expanded as ``|x|² + |y|² - 2 <x, y>`` (one matrix product, memory of the costs alone) and clamped at 0. Near-equal
    long vectors therefore lose digits: with float32 the error is about ``1e-7 |x|²``.

    Examples:
        >>> frames = torch.tensor([[[0.0], [3.0]]])
        >>> SquaredEuclideanCost()(frames, frames)
        tensor([[[[0., 9.],
                  [9., 0.]]]])
    """

    def forward(self, query: Tensor, support: Tensor) -> Tensor:
        """``(... q t d), (... n u d)`` to ``(... q n t u)``.

        Raises:
            FloatingPointError: for features that overflow; see :func:`fsar.alignment.finite.check_lengths`.
        """
        own_query, own_support = query.square().sum(-1), support.square().sum(-1)
        check_lengths(own_query.detach().sqrt(), own_support.detach().sqrt())
        squares = _outer(own_query, own_support, torch.add)
        return (squares - 2 * _products(query, support)).clamp_min(0)


def _norm(frames: Tensor) -> Tensor:
    return torch.linalg.vector_norm(frames, dim=-1)


def _outer(query: Tensor, support: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``(... q t), (... n u)`` to ``(... q n t u)``."""
    return combine(query[..., :, None, :, None], support[..., None, :, None, :])


def _products(query: Tensor, support: Tensor) -> Tensor:
    """Scalar products ``(... q n t u)`` by one matrix product per leading index."""
    flat = query.flatten(-3, -2) @ support.flatten(-3, -2).mT  # (... qt nu)
    return flat.unflatten(-2, query.shape[-3:-1]).unflatten(-1, support.shape[-3:-1]).transpose(-3, -2)
