"""Entropic optimal transport between the frames of two clips (Cuturi 2013, https://arxiv.org/abs/1306.0895).

    P = argmin <P, cost> - ε H(P)   with row sums 1/t and column sums 1/u;     value = Σ P cost

solved by Sinkhorn's iteration on the two potentials, in the log domain.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from fsar.alignment.base import FORBIDDEN, CostAlignment, solve_pairs
from fsar.alignment.costs import PairwiseCost


class OptimalTransport(CostAlignment):
    """Cost of moving the query's frames onto the support's: ``Σ P cost`` of the entropic plan P.

    With t = u and ε towards 0 it is the cheapest assignment divided by t. :meth:`path` is the plan.

    Source: Cuturi 2013, https://arxiv.org/abs/1306.0895, section 4; unbalanced: Chizat et al. 2018,
    https://arxiv.org/abs/1607.05816, section 3, the KL case.
    Cost: t u for each of ``iterations`` steps. Sees order: only with ``order``. Symmetric: yes, once converged.

    Args:
        epsilon: weight of the entropy, in units of the cost. Small values need more iterations.
        iterations: of Sinkhorn; each updates both potentials.
        order: weight of the prior ``order · (i/t - j/u)²`` that is added to the cost, i and j from 0.
        unbalanced: weight τ of the KL divergence that replaces the hard marginals, in units of the cost; none for hard.
        gradient: ``exact`` differentiates the plan too (implicitly, at the fixed point of the iteration, so the more
            converged the better); ``envelope`` holds the plan fixed, so that the gradient is P.
        cost: frame costs; the published cosine when not given.

    Raises:
        ValueError: when epsilon, iterations or unbalanced are not positive.

    Examples:
        >>> cost = 1.0 - torch.eye(3)
        >>> OptimalTransport(epsilon=0.05).align(cost).round(decimals=3)  # every frame has its like
        tensor(0.)
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        iterations: int = 50,
        order: float = 0.0,
        unbalanced: float | None = None,
        gradient: Literal["exact", "envelope"] = "exact",
        cost: PairwiseCost | None = None,
    ) -> None:
        super().__init__(cost)
        for name, number in (("epsilon", epsilon), ("iterations", iterations), ("unbalanced", unbalanced)):
            if number is not None and not number > 0:
                raise ValueError(f"OptimalTransport: {name} must be positive, found {number}.")
        if gradient not in ("exact", "envelope"):
            raise ValueError(f"OptimalTransport: gradient must be 'exact' or 'envelope', found {gradient!r}.")
        self.epsilon = epsilon
        self.iterations = iterations
        self.order = order
        self.unbalanced = unbalanced
        self.gradient = gradient

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        return solve_pairs(cost, mask, self._solver(self.gradient == "exact"))

    def assignment(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """The plan P, ``(... t u)``; its mass is 1 unless unbalanced."""
        with torch.enable_grad():
            leaf = cost.detach().requires_grad_()
            (plan,) = torch.autograd.grad(solve_pairs(leaf, mask, self._solver(False)).sum(), leaf)
        return plan

    def _solver(self, exact: bool) -> partial:
        damping = 1.0 if self.unbalanced is None else self.unbalanced / (self.unbalanced + self.epsilon)
        return partial(
            _solve,
            epsilon=self.epsilon,
            iterations=self.iterations,
            order=self.order,
            damping=damping,
            exact=exact,
        )


def _solve(
    cost: Tensor,
    rows: Tensor | None,
    columns: Tensor | None,
    gradient: bool,
    epsilon: float,
    iterations: int,
    order: float,
    damping: float,
    exact: bool,
) -> tuple[Tensor, Tensor | None]:
    """Value ``(b)`` and gradient ``(t u b)``; a :data:`fsar.alignment.base.Solver`."""
    t, u, b = cost.shape
    row, row_count = _places(t, rows, cost)
    column, column_count = _places(u, columns, cost)
    real = ((row < row_count)[:, None] & (column < column_count)).expand(t, u, b)
    cost = cost + order * ((row / row_count)[:, None] - column / column_count).square()
    scaled = torch.where(real, cost / -epsilon, FORBIDDEN)
    f, g = cost.new_zeros(t, b), cost.new_zeros(u, b)  # potentials divided by epsilon
    for _ in range(iterations):
        f = damping * -(row_count.log() + torch.logsumexp(scaled + g, dim=1))
        f = f.masked_fill(row >= row_count, 0)
        g = damping * -(column_count.log() + torch.logsumexp(scaled + f[:, None], dim=0))
        g = g.masked_fill(column >= column_count, 0)
    plan = (scaled + f[:, None] + g).exp()
    value = (plan * cost).sum((0, 1))
    if not gradient:
        return value, None
    return value, _through_the_plan(plan, cost, epsilon, damping, iterations) if exact else plan


def _places(frames: int, real: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """Index ``(t 1)`` of every frame and number of real frames, ``(1)`` or ``(b)``."""
    index = torch.arange(frames, device=like.device, dtype=like.dtype)[:, None]
    return index, like.new_full((1,), frames) if real is None else real.to(like.dtype)


def _through_the_plan(plan: Tensor, cost: Tensor, epsilon: float, damping: float, iterations: int) -> Tensor:
    """Derivative of ``Σ P cost`` with P moving too: the adjoint of the fixed point, iterated as Sinkhorn is.

    At the fixed point ``df = -κ Σ_j (P / row sum) (dg - dcost)`` and ``dg`` likewise, with κ the damping; ``row`` and
    ``column`` below are the adjoints of ``f`` and ``g``.
    """
    weight = plan * cost / epsilon
    tiny = torch.finfo(plan.dtype).tiny
    by_row = damping * plan / plan.sum(1, keepdim=True).clamp_min(tiny)
    by_column = damping * plan / plan.sum(0, keepdim=True).clamp_min(tiny)
    column = torch.zeros_like(plan[0])
    row = weight.sum(1)
    for _ in range(iterations):
        column = weight.sum(0) - (by_row * row[:, None]).sum(0)
        row = weight.sum(1) - (by_column * column).sum(1)
    return plan - weight + by_row * row[:, None] + by_column * column
