"""STRM's second matching: every tuple of the query's frames with the nearest tuple of a class.

Thatipelli et al. 2022, https://arxiv.org/abs/2112.05132, section 3.3, in the form of the released code
(https://github.com/Anirudh257/strm).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsar.alignment.per_query.chunks import Clips
from fsar.alignment.per_query.cross_tuple import project_tuples


class TupleProjection(nn.Module):
    """``relu(W τ + b)`` of the ordered tuples τ of frames: ``(... t d)`` to ``(... m d/2)``.

    Args:
        channels: d.
        cardinality: ω, frames in a tuple.
        frozen: W and b are drawn once, saved, and never trained.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int, cardinality: int, frozen: bool = False) -> None:
        super().__init__()
        self.cardinality = cardinality
        drawn = nn.Linear(channels * cardinality, channels // 2)
        for name in ("weight", "bias"):
            value = getattr(drawn, name)
            if frozen:
                self.register_buffer(name, value.detach().clone())
            else:
                setattr(self, name, value)

    def forward(self, clips: Tensor) -> Tensor:
        """``(... t d)`` to ``(... m d/2)``."""
        return project_tuples(clips, self.weight, self.bias, self.cardinality).relu()


def nearest_tuples(query: Tensor, support: Tensor, by_products: bool = False) -> Tensor:
    """``-1/m Σ_m min_s |e_Q,m - e_S,s|``: ``(... q m e)`` and ``(... n s e)`` to ``(... q n)``.

    The nearest is searched by products, and its distance then taken exactly; or, as released, from the products too
    (``torch.cdist``), which in float32 loses up to 1e-3 of the gradient of tuples that are close.
    """
    q, m = query.shape[-3:-1]
    flat = query.flatten(-3, -2).unsqueeze(-3)  # (... 1 qm e)
    if by_products:
        return -torch.cdist(flat, support).amin(-1).unflatten(-1, (q, m)).mean(-1).mT
    with torch.no_grad():
        ranks = support.square().sum(-1).unsqueeze(-2) - 2 * flat @ support.mT  # (... n qm s)
        index = ranks.argmin(-1, keepdim=True)
    nearest = support.gather(-2, index.expand(*index.shape[:-1], support.shape[-1]))  # (... n qm e)
    distance = torch.linalg.vector_norm(flat - nearest, dim=-1).unflatten(-1, (q, m))
    return -distance.mean(-1).mT


def compare_tuples(query: Clips, support: Clips, by_products: bool) -> Clips:
    """:func:`nearest_tuples`, the mean over cardinalities."""
    each = [nearest_tuples(x, support[name], by_products) for name, x in query.items()]
    return {"similarity": torch.stack(each).mean(0)}
