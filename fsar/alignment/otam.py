"""OTAM: ordered temporal alignment (Cao et al. 2020, https://arxiv.org/abs/1906.11415, section 3.3).

The recurrence is that of the released code which everybody runs (TRX lineage, CLIP-FSAR, D2ST), not the paper's
equation; its boundary rules stand behind ``boundary="published"``. Results are the same, the arithmetic is not: the
sums over paths are formed from ``exp(-cost / temperature)`` directly, one column of frames at a time, in float32 or
float64 as the range of the costs allows, and in the log domain beyond. Released code gives ``inf`` there.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar.alignment.base import FORBIDDEN, CostAlignment, safe_arithmetic, solve_pairs
from fsar.alignment.costs import PairwiseCost

Boundary = Literal["published", "single"]
LOG2 = 0.6931471805599453


class OTAM(CostAlignment):
    """Cost of the softly best path that visits every frame of one clip once, in order, with free ends in the other.

    ``OTAM(c) = -λ log Σ_paths exp(-Σ_path c / λ)``; with ``bidirectional`` it is ``OTAM(c) + OTAM(cᵀ)``. Not divided
    by the number of frames; can be negative.

    Source: Cao et al. 2020, section 3.3, in the form of the released CLIP-FSAR (λ 0.5, both directions added).
    Cost: t u per pair, in u (and t) sequential steps. Sees order: yes. Symmetric: only ``bidirectional``, since
    ``OTAM(c)`` differs from ``OTAM(cᵀ)``.

    Args:
        temperature: λ of the soft minimum, in units of the cost. CLIP-FSAR and D2ST 0.5, older code 0.1.
        bidirectional: add both directions; otherwise every support frame is visited once.
        boundary: ``published`` counts a path's start in the rows after the first twice, moves down inside the first
            column, and counts the end in every row but the last twice, as released code does. ``single`` counts
            every start and every end once and moves down only from column to column.
        cost: frame costs; the published cosine when not given.

    Raises:
        ValueError: when the temperature is not positive, or the boundary is neither of the two.

    Examples:
        >>> query, support = torch.rand(3, 8, 512), torch.rand(5, 8, 512)  # (q t d), (n u d)
        >>> OTAM()(query, support).shape  # (q n) similarities
        torch.Size([3, 5])
        >>> OTAM().path(query, support).shape  # (q n t u): which frame was matched with which
        torch.Size([3, 5, 8, 8])
    """

    def __init__(
        self,
        temperature: float = 0.5,
        bidirectional: bool = True,
        boundary: Boundary = "published",
        cost: PairwiseCost | None = None,
    ) -> None:
        super().__init__(cost)
        if not 0 < temperature < math.inf:
            raise ValueError(f"OTAM: temperature must be positive and finite, found {temperature}; 0.5 is CLIP-FSAR's.")
        if boundary not in ("published", "single"):
            raise ValueError(f"OTAM: boundary must be 'published' or 'single', found {boundary!r}.")
        self.temperature = temperature
        self.bidirectional = bidirectional
        self.boundary = boundary

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        return otam(cost, self.temperature, self.bidirectional, self.boundary, mask)

    def best_paths(self, cost: Tensor) -> dict[str, Tensor]:
        """See :meth:`fsar.alignment.base.CostAlignment.best_paths`."""
        found = {"every frame of the class once": cheapest_rows(cost)}
        if self.bidirectional:
            found["every frame of the clip once"] = cheapest_rows(cost.mT).mT
        return found


def cheapest_rows(cost: Tensor) -> Tensor:
    """The cheapest path through costs ``(... t u)`` that visits every column once, from any row to any row, and goes
    from column to column down by one row or by none; by one where both cost the same. ``(... t u)`` of 1 and 0."""
    sums, came = cost[..., 0], []
    for column in cost.unbind(-1)[1:]:
        above = F.pad(sums[..., :-1], (1, 0), value=torch.inf)
        came.append((above <= sums).long())
        sums = column + torch.minimum(above, sums)
    rows = [sums.argmin(-1, keepdim=True)]
    for steps in reversed(came):
        rows.append(rows[-1] - steps.gather(-1, rows[-1]))
    return torch.zeros_like(cost).scatter(-2, torch.stack(rows[::-1], -1), 1.0)


def otam(
    cost: Tensor,
    temperature: float = 0.5,
    bidirectional: bool = True,
    boundary: Boundary = "published",
    mask: Tensor | None = None,
) -> Tensor:
    """OTAM of frame costs ``(... t u)``: ``(...)``; see :class:`OTAM`."""
    solve = partial(_solve, temperature=temperature, bidirectional=bidirectional, published=boundary == "published")
    return solve_pairs(cost, mask, solve)


def _solve(
    cost: Tensor,
    rows: Tensor | None,
    columns: Tensor | None,
    gradient: bool,
    temperature: float,
    bidirectional: bool,
    published: bool,
) -> tuple[Tensor, Tensor | None]:
    """Value ``(b)`` and expected alignment ``(t u b)`` of costs ``(t u b)``; a :data:`fsar.alignment.base.Solver`."""
    dtype = safe_arithmetic(cost, temperature, growth=0.7)
    one_way = _logarithmic if dtype is None else _linear
    scaled = cost.to(dtype or torch.float64).mul(-1 / temperature)
    scaled = scaled.clamp(min=FORBIDDEN) if dtype is None else scaled.exp_()
    log_z, path = one_way(scaled, rows, columns, gradient, published)
    if bidirectional:
        log_z_back, path_back = one_way(scaled.transpose(0, 1), columns, rows, gradient, published)
        log_z = log_z + log_z_back
        if path is not None and path_back is not None:
            path = path.add_(path_back.transpose(0, 1))
    return -temperature * log_z, None if path is None else path.to(cost.dtype)


def _end_weights(like: Tensor, rows: Tensor | None, published: bool) -> Tensor:
    """How often a path that ends in each row is counted, ``(t 1)`` or ``(t b)``: 2 ... 2, 1 and 0 on padding."""
    t = like.shape[0]
    row = torch.arange(t, device=like.device)[:, None]
    last = (t if rows is None else rows) - 1
    weights = (row < last) * (2.0 if published else 1.0) + (row == last) * 1.0
    return weights.to(like.dtype)


def _linear(
    e: Tensor, rows: Tensor | None, columns: Tensor | None, gradient: bool, published: bool
) -> tuple[Tensor, Tensor | None]:
    """``log Z (b)`` and expected alignment ``(t u b)`` from ``e = exp(-cost / λ) (t u b)``, one direction.

    ``sums[m, l + 1]`` is the sum over all paths that end in row l of column m; row 0 of ``sums`` stays zero.
    """
    t, u, b = e.shape
    sums = e.new_empty(u if gradient else 2, t + 1, b)
    sums[:, 0] = 0
    here, above = sums[:, 1:].unbind(0), sums[:, :-1].unbind(0)  # views made once: indexing costs as much as adding
    columns_of_e = e.unbind(1)
    here[0].copy_(columns_of_e[0])
    if published:
        cells = here[0].unbind(0)
        for cell, before, factor in zip(cells[1:], cells, columns_of_e[0].unbind(0)[1:], strict=False):
            torch.add(before, 2, out=cell).mul_(factor)
    for m in range(1, u):
        now, last = m % len(here), (m - 1) % len(here)
        torch.add(here[last], above[last], out=here[now]).mul_(columns_of_e[m])
        if columns is not None:
            here[now].copy_(torch.where(m < columns, here[now], here[last]))
    weights = _end_weights(e, rows, published)
    z = (here[(u - 1) % len(here)] * weights).sum(0)
    return z.log(), _linear_path(e, sums, weights / z, columns, published) if gradient else None


def _linear_path(e: Tensor, sums: Tensor, after: Tensor, columns: Tensor | None, published: bool) -> Tensor:
    """``(t u b)``: probability that the path visits each cell; ``after`` is the sum over all ways on, divided by Z."""
    t, u, b = e.shape
    path = torch.empty_like(e, memory_format=torch.contiguous_format)
    here, columns_of_e, columns_of_path = sums[:, 1:].unbind(0), e.unbind(1), path.unbind(1)
    ahead = e.new_empty(t + 1, b)
    ahead[-1] = 0  # and stays so: no row follows the last
    same_row, next_row = ahead[:-1], ahead[1:]
    for m in range(u - 1, 0, -1):
        torch.mul(here[m], after, out=columns_of_path[m])
        torch.mul(columns_of_e[m], after, out=same_row)
        onward = same_row + next_row
        if columns is not None:
            columns_of_path[m].mul_(m < columns)
            onward = torch.where(m < columns, onward, after)
        after = onward
    if published:
        after = after.expand(t, b).clone() if u == 1 else after
        cells, factors = after.unbind(0), columns_of_e[0].unbind(0)
        for row in range(t - 2, -1, -1):
            cells[row].addcmul_(factors[row + 1], cells[row + 1])
    torch.mul(here[0], after, out=columns_of_path[0])
    return path


def _logarithmic(
    e: Tensor, rows: Tensor | None, columns: Tensor | None, gradient: bool, published: bool
) -> tuple[Tensor, Tensor | None]:
    """The same as :func:`_linear` from ``e = -cost / λ``, for any range of costs; without in-place steps."""
    t, u, b = e.shape
    nowhere = e.new_full((1, b), FORBIDDEN)
    first = [e[0, 0]]
    for row in range(1, t):
        first.append(e[row, 0] + F.softplus(first[-1] - LOG2, threshold=50) + LOG2 if published else e[row, 0])
    sums = [torch.stack(first)]
    for m in range(1, u):
        now = e[:, m] + _log_add(sums[-1], torch.cat([nowhere, sums[-1][:-1]]))
        sums.append(now if columns is None else torch.where(m < columns, now, sums[-1]))
    weights = _end_weights(e, rows, published).log().clamp(min=FORBIDDEN).expand(t, b)
    log_z = torch.logsumexp(sums[-1] + weights, dim=0)
    return log_z, _logarithmic_path(e, sums, weights - log_z, columns, published) if gradient else None


def _logarithmic_path(e: Tensor, sums: list[Tensor], after: Tensor, columns: Tensor | None, published: bool) -> Tensor:
    """The same as :func:`_linear_path` in logarithms."""
    t, u, b = e.shape
    nowhere = e.new_full((1, b), FORBIDDEN)
    path = [torch.zeros_like(after)] * u
    for m in range(u - 1, 0, -1):
        path[m] = _probability(sums[m] + after)
        ahead = e[:, m] + after
        onward = _log_add(ahead, torch.cat([ahead[1:], nowhere]))
        if columns is not None:
            path[m] = path[m] * (m < columns)
            onward = torch.where(m < columns, onward, after)
        after = onward
    if published:
        below = [after[-1]]
        for row in range(t - 2, -1, -1):
            below.append(_log_add(after[row], e[row + 1, 0] + below[-1]))
        after = torch.stack(below[::-1])
    path[0] = _probability(sums[0] + after)
    return torch.stack(path, dim=1)


def _probability(logarithm: Tensor) -> Tensor:
    """Costs beyond all measure leave their digits' error in the logarithm, which would overflow."""
    return logarithm.clamp(max=0).exp()


def _log_add(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp a + exp b)`` of finite numbers; several times faster than ``torch.logaddexp``."""
    return torch.maximum(a, b) + F.softplus(-(a - b).abs(), threshold=50)
