"""Dynamic time warping, hard and soft (Cuturi & Blondel 2017, https://arxiv.org/abs/1703.01541, sections 2.1 and 2.2).

    R(0, 0) = cost(0, 0);   R(i, j) = cost(i, j) + min(R(i-1, j-1), R(i-1, j), R(i, j-1));   value = R(t-1, u-1)

Both ends are fixed and every frame of both clips is used. Cells of one anti-diagonal ``k = i + j`` depend only on the
two before it, so all of them, of all pairs of clips, are one step: t + u - 1 steps. The soft minimum is computed as in
:mod:`fsar.alignment.otam`: from ``exp(-cost / λ)`` where its range allows, in logarithms beyond.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar.alignment.base import (
    FORBIDDEN,
    CostAlignment,
    check_clips,
    safe_arithmetic,
    solve_pairs,
)
from fsar.alignment.costs import PairwiseCost


class DTW(CostAlignment):
    """Cost of the cheapest warping path: ``min over paths of Σ_path cost``.

    Its gradient, and so :meth:`path`, is the path itself; among equally cheap ones the diagonal step is preferred, then
    the step along the query.

    Source: Sakoe & Chiba 1978; the form of Cuturi & Blondel 2017, section 2.1. Not divided by the path's length.
    Cost: t u per pair, t + u - 1 sequential steps. Sees order: yes. Symmetric: yes.

    Args:
        cost: frame costs; the published cosine when not given.

    Examples:
        >>> cost = torch.tensor([[0.0, 1.0, 4.0], [4.0, 1.0, 0.0]])
        >>> DTW().align(cost)
        tensor(1.)
        >>> DTW().assignment(cost)  # the path
        tensor([[1., 1., 0.],
                [0., 0., 1.]])
    """

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        return solve_pairs(cost, mask, _solve_hard)

    def best_paths(self, cost: Tensor) -> dict[str, Tensor]:
        """See :meth:`fsar.alignment.base.CostAlignment.best_paths`."""
        return {"from end to end": self.assignment(cost)}


class SoftDTW(CostAlignment):
    """DTW with the soft minimum: ``-λ log Σ_paths exp(-Σ_path cost / λ)``.

    Never above the hard one and possibly negative; the gradient is the probability that the path visits each cell.

    Source: Cuturi & Blondel 2017, section 2.2 and algorithms 1 and 2.
    Cost: t u per pair, t + u - 1 sequential steps. Sees order: yes. Symmetric: yes.

    Args:
        temperature: λ of the soft minimum, in units of the cost; towards 0 it becomes DTW.
        cost: frame costs; the published cosine when not given.

    Raises:
        ValueError: when the temperature is not positive.

    Examples:
        >>> cost = torch.tensor([[0.0, 1.0, 4.0], [4.0, 1.0, 0.0]])
        >>> SoftDTW(temperature=0.01).align(cost)  # almost DTW
        tensor(0.9931)
    """

    def __init__(self, temperature: float = 0.5, cost: PairwiseCost | None = None) -> None:
        super().__init__(cost)
        if not 0 < temperature < math.inf:
            raise ValueError(
                f"{type(self).__name__}: temperature must be positive and finite, found {temperature}; for 0 use DTW."
            )
        self.temperature = temperature

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        return solve_pairs(cost, mask, partial(_solve_soft, temperature=self.temperature))

    def best_paths(self, cost: Tensor) -> dict[str, Tensor]:
        """See :meth:`fsar.alignment.base.CostAlignment.best_paths`: that of :class:`DTW`."""
        return DTW().best_paths(cost)


class SoftDTWDivergence(SoftDTW):
    """Soft-DTW without its bias: ``sdtw(x, y) - sdtw(x, x) / 2 - sdtw(y, y) / 2``; 0 for two equal clips.

    :meth:`path` and :meth:`align` are those of the first term.

    Source: Blondel, Mensch & Vert 2021, https://arxiv.org/abs/2010.08354, section 3.
    Cost: t u per pair, and t² and u² per clip. Sees order: yes. Symmetric: yes.

    Examples:
        >>> clip = torch.rand(1, 8, 16)
        >>> bool(SoftDTWDivergence()(clip, clip).abs() < 1e-4)  # a clip is at no distance from itself
        True
    """

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`fsar.alignment.base.Alignment.forward`."""
        check_clips(query, support)
        cross = super().forward(query, support, query_mask, support_mask)
        own_query, own_support = self._own(query, query_mask), self._own(support, support_mask)
        return cross - (own_query[..., :, None] + own_support[..., None, :]) / 2

    def _own(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """Similarity of every clip with itself: ``(... q t d)`` to ``(... q)``."""
        alone = clips.unsqueeze(-3)
        mask = None if mask is None else mask.unsqueeze(-2)
        return super().forward(alone, alone, mask, mask)[..., 0, 0]


def _diagonals(cells: Tensor, fill: float) -> Tensor:
    """``(t u b)`` to ``(k t b)`` with ``out[k, i] = cells[i, k - i]`` and ``fill`` outside, k = 0 .. t + u - 2."""
    t, u, b = cells.shape
    wide = F.pad(cells, (0, 0, 0, t), value=fill)  # rows of length u + t, cut into rows that are one shorter
    return wide.reshape(t * (u + t), b)[: t * (u + t - 1)].reshape(t, u + t - 1, b).transpose(0, 1).contiguous()


def _cells(diagonals: Tensor, u: int) -> Tensor:
    """The inverse of :func:`_diagonals`: ``(k t b)`` to ``(t u b)``."""
    _, t, b = diagonals.shape
    wide = F.pad(diagonals.transpose(0, 1).reshape(t * (u + t - 1), b), (0, 0, 0, t))
    return wide.reshape(t, u + t, b)[:, :u]


def _corner(t: int, u: int, rows: Tensor | None, columns: Tensor | None, like: Tensor) -> Tensor:
    """Number ``k t + i`` of the last real cell, ``(1 b)``."""
    last_row = torch.full_like(like[0, 0], t - 1, dtype=torch.int64) if rows is None else rows - 1
    last_column = u - 1 if columns is None else columns - 1
    return ((last_row + last_column) * t + last_row)[None]


def _solve_soft(
    cost: Tensor, rows: Tensor | None, columns: Tensor | None, gradient: bool, temperature: float
) -> tuple[Tensor, Tensor | None]:
    """Value ``(b)`` and expected alignment ``(t u b)``; a :data:`fsar.alignment.base.Solver`."""
    t, u, _ = cost.shape
    dtype = safe_arithmetic(cost, temperature, growth=0.9)
    corner = _corner(t, u, rows, columns, cost)
    scaled = cost.to(dtype or torch.float64) * (-1 / temperature)
    if dtype is None:
        log_z, path = _logarithmic(_diagonals(scaled.clamp(min=FORBIDDEN), FORBIDDEN), u, corner, gradient)
    else:
        log_z, path = _linear(_diagonals(scaled.exp_(), 0.0), u, corner, gradient)
    return -temperature * log_z, None if path is None else _cells(path, u).to(cost.dtype)


def _linear(e: Tensor, u: int, corner: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
    """``log Z (b)`` and path ``(k t b)`` from ``e = exp(-cost / λ) (k t b)``.

    ``sums[k + 1, i + 1]`` is the sum over all paths that end in cell (i, k - i); ``sums[0, 0]`` is the way in.
    """
    steps, t, b = e.shape
    sums = e.new_zeros(steps + 1, t + 1, b)
    sums[0, 0] = 1
    for k in range(steps):
        low, high = max(0, k - u + 1), min(k, t - 1) + 1
        here = sums[k + 1, low + 1 : high + 1]
        if k == 0:
            here.copy_(e[0, :1])
            sums[0, 0] = 0
            continue
        torch.add(sums[k, low:high], sums[k, low + 1 : high + 1], out=here)
        here.add_(sums[k - 1, low:high]).mul_(e[k, low:high])
    arrived = sums[1:, 1:]
    z = arrived.reshape(steps * t, b).gather(0, corner)
    if not gradient:
        return z[0].log(), None
    after = e.new_zeros(steps * t, b).scatter_(0, corner, 1 / z).unflatten(0, (steps, t))
    ahead = e.new_zeros(steps + 2, t + 1, b)
    for k in range(steps - 1, -1, -1):
        low, high = max(0, k - u + 1), min(k, t - 1) + 1
        here = after[k, low:high]
        here.add_(ahead[k + 1, low:high]).add_(ahead[k + 1, low + 1 : high + 1]).add_(ahead[k + 2, low + 1 : high + 1])
        torch.mul(here, e[k, low:high], out=ahead[k, low:high])
    return z[0].log(), after.mul_(arrived)


def _logarithmic(e: Tensor, u: int, corner: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
    """The same as :func:`_linear` from ``e = -cost / λ (k t b)``, without in-place steps."""
    steps, t, b = e.shape
    nowhere = e.new_full((t, b), FORBIDDEN)
    sums = [e[0]]
    for k in range(1, steps):
        earlier = sums[k - 2] if k > 1 else nowhere
        sums.append((e[k] + _log_add(_down(sums[k - 1]), sums[k - 1], _down(earlier))).clamp(min=FORBIDDEN))
    stacked = torch.stack(sums)
    log_z = stacked.reshape(steps * t, b).gather(0, corner)
    if not gradient:
        return log_z[0], None
    seed = e.new_full((steps * t, b), FORBIDDEN).scatter(0, corner, -log_z).unflatten(0, (steps, t))
    after: list[Tensor] = []
    ahead = [nowhere, nowhere]  # of the diagonals k + 1 and k + 2
    for k in range(steps - 1, -1, -1):
        onward = _log_add(_up(ahead[0]), ahead[0], _up(ahead[1]))
        after.append(torch.maximum(seed[k], onward))
        ahead = [(e[k] + after[-1]).clamp(min=FORBIDDEN), ahead[0]]
    # of costs beyond all measure the rounding alone may be large and positive
    return log_z[0], (stacked + torch.stack(after[::-1])).clamp(max=0).exp()


def _down(x: Tensor) -> Tensor:
    """Row i gets row i - 1."""
    return F.pad(x[:-1], (0, 0, 1, 0), value=FORBIDDEN)


def _up(x: Tensor) -> Tensor:
    """Row i gets row i + 1."""
    return F.pad(x[1:], (0, 0, 0, 1), value=FORBIDDEN)


def _log_add(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """``log(exp a + exp b + exp c)`` of finite numbers."""
    top = torch.maximum(torch.maximum(a, b), c)
    return top + ((a - top).exp() + (b - top).exp() + (c - top).exp()).log()


def _solve_hard(
    cost: Tensor, rows: Tensor | None, columns: Tensor | None, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Value ``(b)`` and the cheapest path ``(t u b)``; a :data:`fsar.alignment.base.Solver`."""
    t, u, b = cost.shape
    gain = _diagonals(-cost, FORBIDDEN)
    corner = _corner(t, u, rows, columns, cost)
    nowhere = cost.new_full((t, b), FORBIDDEN)
    best, came = [gain[0]], [torch.zeros_like(gain[0], dtype=torch.int64)]
    for k in range(1, len(gain)):
        earlier = best[k - 2] if k > 1 else nowhere
        value, step = torch.stack([_down(earlier), _down(best[k - 1]), best[k - 1]]).max(0)  # the first among equals
        best.append((gain[k] + value).clamp(min=FORBIDDEN))
        came.append(step)
    value = -torch.stack(best).reshape(-1, b).gather(0, corner)[0]
    if not gradient:
        return value, None
    path = cost.new_zeros(len(gain) * t, b).scatter(0, corner, 1.0).unflatten(0, (len(gain), t))
    visits = list(path.unbind(0))
    for k in range(len(gain) - 1, 0, -1):
        diagonal, down = (F.pad((visits[k] * (came[k] == i))[1:], (0, 0, 0, 1)) for i in (0, 1))
        visits[k - 1] = visits[k - 1] + down + visits[k] * (came[k] == 2)
        if k > 1:
            visits[k - 2] = visits[k - 2] + diagonal
    return value, _cells(torch.stack(visits), u)
