"""Matchings without a search for a path: frame means, frame by frame, the Hausdorff family; and sums of alignments.

Pure arithmetic on means or on the frame costs. All but :class:`FrameToFrame` are blind to the order of frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsar.alignment.base import Alignment, CostAlignment, check_clips, full_precision, widen
from fsar.alignment.costs import CosineCost, PairwiseCost
from fsar.alignment.finite import require_finite

BEYOND = 1e30
"""Cost of a padded frame: never the smallest, and finite."""


class FrameMean(Alignment):
    """Cost of the two clips' mean frames, ``cost(mean_t x, mean_u y)``: the baseline without time.

    With the cosine it is ``1 - cos(mean x, mean y)``; with :class:`SquaredEuclideanCost` the prototypical network.

    Source: Snell et al. 2017, https://arxiv.org/abs/1703.05175, section 2.2, on clip means.
    Cost: t + u. Sees order: no. Symmetric: yes.

    Args:
        cost: between mean frames; the plain cosine (epsilon 0) when not given.

    Examples:
        >>> clip = torch.rand(1, 8, 16)
        >>> torch.allclose(FrameMean()(clip, clip), FrameMean()(clip, clip.flip(1)), atol=1e-5)  # blind to order
        True
    """

    def __init__(self, cost: PairwiseCost | None = None) -> None:
        super().__init__()
        self.cost = CosineCost(epsilon=0.0) if cost is None else cost

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`fsar.alignment.base.Alignment.forward`."""
        check_clips(query, support)
        with full_precision(query):
            return -self.cost(_mean(query, query_mask), _mean(support, support_mask))[..., 0, 0]


def _mean(frames: Tensor, mask: Tensor | None) -> Tensor:
    """``(... t d)`` to ``(... 1 d)``: the mean of the real frames."""
    total = widen(frames, mask).sum(-2, keepdim=True)
    return total / (frames.shape[-2] if mask is None else mask.sum(-1)[..., None, None])


class FrameToFrame(CostAlignment):
    """Cost of matching frames by their place in time, ``Σ_t cost(t, τ(t))`` with ``τ(t) = floor((t + 1/2) u / t_len)``.

    ``τ(t) = t`` when both clips have as many frames: the rigid matching ``Σ_t cost(t, t)``.

    Source: TA2N, Li et al. 2022, https://arxiv.org/abs/2107.04782, section 3.3, which matches so after its own warp of
    time; for t ≠ u, which is undefined there, the support frame at the same relative time is ours.
    Cost: t. Sees order: yes (same shuffle of both clips unseen). Symmetric: for t = u.

    Examples:
        >>> FrameToFrame().align(torch.tensor([[1.0, 9.0], [9.0, 2.0]]))
        tensor(3.)
    """

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        t, u = cost.shape[-2:]
        row = torch.arange(t, device=cost.device)
        if mask is None:
            return require_finite(cost[..., row, (2 * row + 1) * u // (2 * t)].sum(-1), cost)
        rows, columns = (mask.any(axis).sum(-1, keepdim=True) for axis in (-1, -2))
        column = ((2 * row + 1) * columns // (2 * rows)).clamp(max=u - 1)
        matched = cost.gather(-1, column.expand(cost.shape[:-1])[..., None])[..., 0]
        return require_finite((matched * (row < rows)).sum(-1), cost)

    def best_paths(self, cost: Tensor) -> dict[str, Tensor]:
        """See :meth:`fsar.alignment.base.CostAlignment.best_paths`: the only one there is."""
        return {"by place in time": self.assignment(cost)}


class MeanCost(CostAlignment):
    """``mean_{t,u} cost``: every frame against every frame.

    Source: folklore; with the plain cosine it is one minus the product of the mean unit frames.
    Cost: t u. Sees order: no. Symmetric: yes.

    Examples:
        >>> MeanCost().align(torch.tensor([[1.0, 3.0], [5.0, 7.0]]))
        tensor(4.)
    """

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        value = cost.mean((-2, -1)) if mask is None else cost.sum((-2, -1)) / mask.sum((-2, -1))
        return require_finite(value, cost)


class MeanHausdorff(CostAlignment):
    """Nearest support frame of every query frame, added up: ``Σ_t min_u cost``. A sum, not a mean.

    Equal costs share the gradient evenly.

    Source: HyRSM, Wang et al. 2022, https://arxiv.org/abs/2204.13423, section 3.3, one direction.
    Cost: t u. Sees order: no. Symmetric: no.

    Args:
        temperature: 0 for the minimum; above, the soft minimum ``-λ log Σ exp(-cost / λ)``, in units of the cost.
        cost: frame costs; the published cosine when not given.

    Raises:
        ValueError: when the temperature is negative.

    Examples:
        >>> MeanHausdorff().align(torch.tensor([[1.0, 3.0], [5.0, 7.0]]))
        tensor(6.)
    """

    def __init__(self, temperature: float = 0.0, cost: PairwiseCost | None = None) -> None:
        super().__init__(cost)
        if not temperature >= 0:
            raise ValueError(f"{type(self).__name__}: temperature must be 0 (hard) or positive, found {temperature}.")
        self.temperature = temperature

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        return require_finite(self._nearest(cost, mask, -1).sum(-1), cost)

    def _nearest(self, cost: Tensor, mask: Tensor | None, axis: int) -> Tensor:
        """(Soft) minimum over an axis, 0 where the other axis is padding."""
        masked = cost if mask is None else cost.masked_fill(~mask, BEYOND)
        if self.temperature:
            nearest = -self.temperature * (masked / -self.temperature).logsumexp(axis)
        else:
            nearest = masked.amin(axis)
        return nearest if mask is None else nearest.masked_fill(~mask.any(axis), 0)


class BiMHM(MeanHausdorff):
    """Mean Hausdorff in both directions: ``Σ_t min_u cost + Σ_u min_t cost``. Sums, as released, not means.

    Source: HyRSM, Wang et al. 2022, https://arxiv.org/abs/2204.13423, section 3.3, equation 6, as in its code; MoLo and
    D2ST-Adapter use the same. HyRSM takes the plain cosine (``epsilon: 0``), MoLo 0.01.
    Cost: t u. Sees order: no. Symmetric: yes.

    Args:
        temperature: 0 for the minimum; above, the soft minimum, in units of the cost.
        cost: frame costs; the published cosine when not given.

    Examples:
        >>> BiMHM().align(torch.tensor([[1.0, 3.0], [5.0, 7.0]]))
        tensor(10.)
    """

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        value = self._nearest(cost, mask, -1).sum(-1) + self._nearest(cost, mask, -2).sum(-1)
        return require_finite(value, cost)


class Chamfer(MeanHausdorff):
    """``mean_t min_u cost + mean_u min_t cost``: Bi-MHM with means, so clips of any length compare.

    Source: Barrow et al. 1977; the means of Fan et al. 2017, https://arxiv.org/abs/1612.00603, equation 1.
    Cost: t u. Sees order: no. Symmetric: yes.

    Args:
        temperature: 0 for the minimum; above, the soft minimum, in units of the cost.
        cost: frame costs; the published cosine when not given.

    Examples:
        >>> Chamfer().align(torch.tensor([[1.0, 3.0], [5.0, 7.0]]))
        tensor(5.)
    """

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        rows, columns = self._nearest(cost, mask, -1), self._nearest(cost, mask, -2)
        if mask is None:
            return require_finite(rows.mean(-1) + columns.mean(-1), cost)
        value = rows.sum(-1) / mask.any(-1).sum(-1) + columns.sum(-1) / mask.any(-2).sum(-1)
        return require_finite(value, cost)


class Hausdorff(CostAlignment):
    """``max(max_t min_u cost, max_u min_t cost)``: the frame that is worst served.

    Source: HyRSM, Wang et al. 2022, https://arxiv.org/abs/2204.13423, section 3.3, where it only motivates the mean.
    Cost: t u. Sees order: no. Symmetric: yes.

    Examples:
        >>> Hausdorff().align(torch.tensor([[1.0, 3.0], [5.0, 7.0]]))
        tensor(5.)
    """

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        sides = []
        for axis in (-1, -2):
            nearest = (cost if mask is None else cost.masked_fill(~mask, BEYOND)).amin(axis)
            sides.append((nearest if mask is None else nearest.masked_fill(~mask.any(axis), -BEYOND)).amax(-1))
        return require_finite(torch.maximum(*sides), cost)


class WeightedSum(Alignment):
    """``Σ_i weight_i · similarity_i``: any alignments side by side on the same features.

    Order, symmetry and cost are those of the parts.

    Args:
        parts: the alignments; all or none of them merge shots themselves.
        weights: one factor each; all 1 when not given.

    Raises:
        ValueError: when there are no parts, or not as many weights as parts, or some parts merge shots and some do not.

    Examples:
        >>> from fsar.alignment import OTAM
        >>> metric = WeightedSum([OTAM(), FrameMean()], weights=[1.0, 0.5])
        >>> metric(torch.rand(3, 8, 16), torch.rand(5, 8, 16)).shape
        torch.Size([3, 5])
    """

    def __init__(self, parts: Sequence[Alignment], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(parts) if weights is None else list(weights)
        if not parts or len(weights) != len(parts):
            raise ValueError(
                f"WeightedSum needs one weight for each part, found {len(weights)} for {len(parts)} parts."
            )
        if len({part.merges_shots for part in parts}) > 1:
            raise ValueError(
                "WeightedSum: some parts merge the shots themselves (merges_shots) and some want them merged: "
                f"{', '.join(f'{type(p).__name__}: {p.merges_shots}' for p in parts)}. Sum parts of one kind."
            )
        self.parts = nn.ModuleList(parts)
        self.weights = weights
        self.merges_shots = parts[0].merges_shots

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`Alignment.forward`."""
        similarity = torch.zeros((), device=query.device)
        for part, weight in zip(self.parts, self.weights, strict=True):
            similarity = similarity + weight * part(query, support, query_mask, support_mask)
        return similarity
