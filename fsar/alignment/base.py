"""What an alignment is: two sets of clips in, one similarity per (query, support) pair out.

Two kinds stand behind one call. Metrics on the frame costs subclass :class:`CostAlignment` and write
``align(cost (... t u)) -> (...)``; metrics on the features subclass :class:`Alignment` and write ``forward``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from fsar.alignment.costs import CosineCost, PairwiseCost
from fsar.alignment.finite import require_finite

FRAMES_AT_ONCE = 2**16
"""Frames (pairs of clips times the longer clip's length) of one step of a CPU: few enough for its cache."""

FLOAT32_REACH, FLOAT64_REACH = 80.0, 640.0
"""Largest exponent of a sum over paths before wider arithmetic is taken; float32 ends at 87, float64 at 709."""

FORBIDDEN = -1e30
"""Logarithm of what never happens; finite, so that differences of two of them are no NaN."""


class Alignment(nn.Module):
    """Compares query clips with class prototypes (or single support clips).

    Subclass it and write :meth:`forward` to plug in a metric of your own; name the class by ``class_path`` in YAML or
    hand the object over in Python. If it is enough to look at the frame costs, subclass :class:`CostAlignment`.

    Examples:
        >>> class Last(Alignment):  # the last frames alone
        ...     def forward(self, query, support, query_mask=None, support_mask=None):
        ...         return query[..., -1, :] @ support[..., -1, :].mT
        >>> Last()(torch.eye(2)[None], torch.eye(2)[None])
        tensor([[1.]])
    """

    merges_shots: bool = False
    """True for a metric that merges the shots of a class itself: it receives ``support (... n k u d)`` and
    ``support_mask (... n k u)``. Otherwise the method merges them first and hands over ``(... n u d)``."""

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """Similarity of every query with every support clip; higher is more alike.

        Args:
            query: ``(... q t d)`` frame features.
            support: ``(... n u d)`` frame features; leading axes broadcast against the query's.
            query_mask: ``(... q t)`` bool, true on real frames; padding stands at the end, one frame at least is real.
            support_mask: ``(... n u)`` bool.

        Returns:
            ``(... q n)``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(query, support, ...).")


class CostAlignment(Alignment):
    """A metric that sees nothing but the frame costs: subclass it and write :meth:`align`.

    Costs are computed in float32 at least, with autocast off, whatever the features come in.

    Args:
        cost: how unlike two frames are; the published cosine when not given.

    Examples:
        >>> class Diagonal(CostAlignment):
        ...     def align(self, cost, mask=None):
        ...         return cost.diagonal(dim1=-2, dim2=-1).sum(-1)
        >>> query, support = torch.rand(3, 8, 512), torch.rand(5, 8, 512)  # (q t d), (n u d)
        >>> Diagonal()(query, support).shape  # (q n) similarities
        torch.Size([3, 5])
        >>> Diagonal().path(query, support).shape  # (q n t u)
        torch.Size([3, 5, 8, 8])
    """

    def __init__(self, cost: PairwiseCost | None = None) -> None:
        super().__init__()
        self.cost = CosineCost() if cost is None else cost

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """Cost of the best (or expected) matching of two clips; lower is more alike.

        Args:
            cost: ``(... t u)`` frame costs, float32 or float64; rows are query frames.
            mask: ``(... t u)`` bool, true where both frames are real; None when all are. Costs outside are 0.

        Returns:
            ``(...)``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define align(cost, mask=None).")

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """``-align(cost)``; see :meth:`Alignment.forward`.

        Raises:
            ValueError: for features of other shapes, or when :meth:`align` gives another shape than ``(...)``.
            FloatingPointError: for features that overflow and, in the alignments of this package, costs without end; it
                names the clip.
        """
        with full_precision(query):
            cost, mask = self._costs(query, support, query_mask, support_mask)
            value = self.align(cost, mask)
        if value.shape != cost.shape[:-2]:
            raise ValueError(
                f"{type(self).__name__}.align must give one number for each pair of clips: of frame costs "
                f"{tuple(cost.shape)} it gave {tuple(value.shape)} instead of {tuple(cost.shape[:-2])}."
            )
        return -value

    def assignment(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """How much every pair of frames is matched: the gradient of :meth:`align` with respect to the cost.

        Args:
            cost: ``(... t u)``.
            mask: ``(... t u)`` bool, or None.

        Returns:
            ``(... t u)``, detached, zero on padding.
        """
        with torch.enable_grad():
            leaf = cost.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.align(leaf, mask).sum(), leaf)
        return gradient if mask is None else gradient.masked_fill(~mask, 0)

    def best_paths(self, cost: Tensor) -> dict[str, Tensor]:
        """The cheapest path in order of time through frame costs ``(... t u)``, by what it must visit: one, or one for
        each direction, as ``(... t u)`` that is 1 where it passes and 0 elsewhere.

        None for a metric that knows no order: what it matches is no path.
        """
        return {}

    def path(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """:meth:`assignment` of every pair of clips: for a soft alignment the probability that the path passes at
        each pair of frames, for a hard one the path itself; an alignment in both directions adds the two.

        Returns:
            ``(... q n t u)``, detached, zero on padding.
        """
        with torch.inference_mode(False), torch.no_grad(), full_precision(query):
            return self.assignment(*self._costs(query.clone(), support.clone(), query_mask, support_mask))

    def _costs(
        self, query: Tensor, support: Tensor, query_mask: Tensor | None, support_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        query, support = widen(query, query_mask), widen(support, support_mask)
        check_clips(query, support)
        cost = self.cost(query, support)
        mask = pair_mask(query, support, query_mask, support_mask)
        return (cost, None) if mask is None else (cost.masked_fill(~mask, 0), mask)


def full_precision(x: Tensor) -> torch.autocast:
    """A context without autocast on the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False)


def widen(frames: Tensor, mask: Tensor | None = None) -> Tensor:
    """The frames in float32 at least, with padded frames set to 0 (whatever stood there, NaN included)."""
    frames = frames.to(torch.promote_types(frames.dtype, torch.float32))
    return frames if mask is None else frames.masked_fill(~mask[..., None], 0)


def check_clips(query: Tensor, support: Tensor, support_axes: str = "n u d") -> None:
    """Raise ValueError unless the shapes are ``(... q t d)`` and ``(... n u d)`` with one ``d``."""
    if query.dim() < 3 or support.dim() < len(support_axes.split()) or query.shape[-1] != support.shape[-1]:
        raise ValueError(
            f"query must be (... q t d) and support (... {support_axes}) with the same d; "
            f"found {tuple(query.shape)} and {tuple(support.shape)}."
        )


def pair_mask(query: Tensor, support: Tensor, query_mask: Tensor | None, support_mask: Tensor | None) -> Tensor | None:
    """``(... q n t u)`` bool, true where both frames are real; None when neither mask is given."""
    if query_mask is None and support_mask is None:
        return None
    if query_mask is None:
        query_mask = torch.ones(query.shape[:-1], dtype=torch.bool, device=query.device)
    if support_mask is None:
        support_mask = torch.ones(support.shape[:-1], dtype=torch.bool, device=support.device)
    return query_mask[..., :, None, :, None] & support_mask[..., None, :, None, :]


def safe_arithmetic(cost: Tensor, temperature: float, growth: float) -> torch.dtype | None:
    """Narrowest dtype in which sums over paths of ``exp(-Σ cost / temperature)`` neither overflow nor vanish.

    A sum over paths through ``(t u)`` costs is at least one path's, so at least ``exp(-max(t, u) max(cost) / λ)``,
    and at most ``exp((t + u) (growth - min(cost, 0) / λ))``, where ``exp(growth)`` bounds how paths multiply.

    Args:
        cost: ``(t u b)``.
        temperature: λ.
        growth: of the logarithm of the number of paths, for each row and column.

    Returns:
        The dtype of ``cost``, float64, or None when only logarithms will do (and while tracing for ``torch.compile``,
        when values cannot be looked at).
    """
    if torch.compiler.is_compiling() or not cost.numel():
        return None
    t, u = cost.shape[:2]
    low, high = (float(x) for x in torch.aminmax(cost.detach()))
    reach = max(max(t, u) * high / temperature, (t + u) * (growth - min(low, 0.0) / temperature))
    if reach < FLOAT32_REACH:
        return cost.dtype
    return torch.float64 if reach < FLOAT64_REACH else None


def _frames_first(cost: Tensor) -> Tensor:
    """``(... t u)`` to contiguous ``(t u b)``."""
    t, u = cost.shape[-2:]
    if cost.is_contiguous():  # a plain matrix transpose is several times faster than a general permutation
        return cost.reshape(-1, t * u).t().contiguous().unflatten(0, (t, u))
    return cost.movedim((-2, -1), (0, 1)).reshape(t, u, -1).contiguous()


Solver = Callable[[Tensor, Tensor | None, Tensor | None, bool], tuple[Tensor, Tensor | None]]
"""``(cost (t u b), real rows (b) or None, real columns (b) or None, whether the gradient is wanted)`` to
``(value (b), gradient (t u b) or None)`` of ``b`` pairs of clips, frames first so that every step is contiguous."""


def solve_pairs(cost: Tensor, mask: Tensor | None, solve: Solver) -> Tensor:
    """Value of a metric that knows its own gradient, ``(... t u)`` to ``(...)``.

    The gradient is computed together with the value, a cache-sized group of pairs at a time, and is all that is kept
    for backward: memory of one cost matrix. It cannot be differentiated again.

    Raises:
        RuntimeError: in backward with ``create_graph=True``.
        FloatingPointError: for a value that is not finite.
    """
    rows = columns = None
    if mask is not None:
        mask = mask.expand(cost.shape)
        rows, columns = mask.any(-1).sum(-1).flatten(), mask.any(-2).sum(-1).flatten()
    value: Tensor = _SolvePairs.apply(cost, solve, rows, columns)
    return require_finite(value, cost)


class _SolvePairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, cost: Tensor, solve: Solver, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        wanted: bool = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        t, u = cost.shape[-2:]
        pairs = _frames_first(cost)
        step = max(1, pairs.shape[-1])
        if cost.device.type == "cpu" and not torch.compiler.is_compiling():
            step = max(1, FRAMES_AT_ONCE // max(t, u))
        values: list[Tensor] = []
        gradients: list[Tensor] = []
        for start in range(0, max(1, pairs.shape[-1]), step):
            group = slice(start, start + step)
            real_rows, real_columns = (None if x is None else x[group] for x in (rows, columns))
            value, gradient = solve(pairs[..., group], real_rows, real_columns, wanted)
            values.append(value)
            if gradient is not None:
                gradients.append(gradient)
        if gradients:
            gradient = gradients[0] if len(gradients) == 1 else torch.cat(gradients, dim=-1)
            if cost.is_contiguous():
                gradient = gradient.flatten(0, 1).t().contiguous().reshape(cost.shape)
            else:
                gradient = gradient.reshape(t, u, *cost.shape[:-2]).movedim((0, 1), (-2, -1))
            ctx.save_for_backward(gradient)
        value = values[0] if len(values) == 1 else torch.cat(values)
        return value.to(cost.dtype).reshape(cost.shape[:-2])

    @staticmethod
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "This alignment has an analytic first derivative and no second one: backward with create_graph=True "
                "cannot pass through it. Drop create_graph, or detach the frame costs."
            )
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return upstream[..., None, None] * gradient, None, None, None
