"""What every alignment must satisfy, as one function per property; its docstring is what a person reads.

``fsar check-alignment`` runs them on a user's metric, the test suite on every metric of the package.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fsar.alignment import Alignment, CostAlignment

QUERIES, WAYS, SHOTS = 3, 4, 2
SCALE = 1e-5  # what an epsilon against division by 0, such as 1e-6, may make of another scale


class Violated(Exception):
    """A property does not hold; the message says how, in words."""


@dataclass
class TriedAlignment:
    """A metric and the sizes of the clips that it is tried on.

    Args:
        metric: the alignment, any dtype.
        channels: d of the features.
        frames: frames of a clip.
        lengths: whether clips of other lengths may be tried; False for a metric built for ``frames`` alone.
    """

    metric: Alignment
    channels: int = 16
    frames: int = 5
    lengths: bool = True

    def clips(self, *shape: int, frames: int | None = None, support: bool = False, seed: int = 0) -> Tensor:
        """Random float64 clips ``(*shape t d)``, or ``(*shape k t d)`` for a metric that merges shots."""
        shots = (SHOTS,) if support and self.metric.merges_shots else ()
        generator = torch.Generator().manual_seed(seed + 100 * support)
        size = (*shape, *shots, frames or self.frames, self.channels)
        return torch.randn(size, generator=generator, dtype=torch.float64)

    def pair(self, *lead: int, t: int | None = None, u: int | None = None, ways: int = WAYS) -> tuple[Tensor, Tensor]:
        """Queries ``(*lead q t d)`` and supports ``(*lead n u d)``."""
        return self.clips(*lead, QUERIES, frames=t), self.clips(*lead, ways, frames=u, support=True)

    def score(self, query: Tensor, support: Tensor, *masks: Tensor | None) -> Tensor:
        """The metric in evaluation mode and the precision of the clips."""
        dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
        return copy.deepcopy(self.metric).to(dtype).eval()(query, support, *masks)


def demand(holds: object, otherwise: str) -> None:
    """Raise :class:`Violated` unless it holds."""
    if not holds:
        raise Violated(otherwise)


def same(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    """Equal shapes, and values equal up to a part of the largest."""
    return a.shape == b.shape and bool(((a - b).abs() <= tolerance * (1 + b.abs().max())).all())


def shapes(subject: TriedAlignment) -> str:
    """(... q t d), (... n u d) gives (... q n), for no, one and two leading axes"""
    for lead in ((), (2,), (2, 3)):
        query, support = subject.pair(*lead)
        before = query.clone(), support.clone()
        found = tuple(subject.score(query, support).shape)
        demand(
            found == (*lead, QUERIES, WAYS), f"leading axes {lead}: expected {(*lead, QUERIES, WAYS)}, found {found}."
        )
        demand(torch.equal(query, before[0]) and torch.equal(support, before[1]), "it writes into its inputs.")
    found = tuple(subject.score(subject.clips(2, QUERIES), subject.clips(WAYS, support=True)).shape)
    demand(found == (2, QUERIES, WAYS), f"supports without the queries' leading axis must broadcast; found {found}.")
    return ""


def lengths(subject: TriedAlignment) -> str:
    """clips of different length, a single frame, a single class"""
    if not subject.lengths:
        return "made for one length; not tried"
    notes = []
    for t, u, ways in ((7, 4, WAYS), (4, 7, WAYS), (1, 1, WAYS), (5, 5, 1)):
        query, support = subject.pair(t=t, u=u, ways=ways)
        try:
            value = subject.score(query, support)
        except ValueError as error:
            demand(min(t, u) == 1, f"t={t}, u={u}, n={ways}: it raises ValueError: {error}")
            notes.append(f"refuses one frame: {error}")
            continue
        except Exception as error:
            raise Violated(f"t={t}, u={u}, n={ways}: it raises {type(error).__name__}: {error}") from error
        demand(tuple(value.shape) == (QUERIES, ways), f"t={t}, u={u}, n={ways}: found shape {tuple(value.shape)}.")
        demand(value.isfinite().all(), f"t={t}, u={u}, n={ways}: the similarity is not finite.")
    return "; ".join(notes)


def independence(subject: TriedAlignment) -> str:
    """an episode's similarities do not depend on the other episodes, nor a query's on the other queries"""
    query, support = subject.pair(3)
    together = subject.score(query, support)
    demand(same(subject.score(query, support), together), "two calls on the same clips differ.")
    for i in range(3):
        alone = subject.score(query[i], support[i])
        demand(
            same(alone, together[i]),
            f"episode {i} alone differs from the same episode in a batch of 3 (is something "
            "computed over the leading axes, or in a fixed axis from the left?)",
        )
    alone = subject.score(query[:, 1:2], support)
    demand(same(alone, together[:, 1:2]), "a query alone scores differently than among others.")
    return ""


def permutation(subject: TriedAlignment) -> str:
    """permuting the classes or the queries permutes the similarities and changes nothing else"""
    query, support = subject.pair()
    value = subject.score(query, support)
    order = torch.tensor([2, 0, 3, 1])
    demand(same(subject.score(query, support[order]), value[:, order]), "permuted classes: the columns do not follow.")
    demand(same(subject.score(query.flip(0), support), value.flip(0)), "permuted queries: the rows do not follow.")
    if subject.metric.merges_shots:
        demand(same(subject.score(query, support.flip(1)), value), "the order of a class's shots changes the value.")
    return ""


def extremes(subject: TriedAlignment) -> str:
    """similarity and gradient stay finite in float32: zero frames, constant clips, tiny, huge, long clips"""
    query, support = (x.float() for x in subject.pair())
    cases = {
        "all frames zero": (query * 0, support * 0),
        "constant clips": (query[..., :1, :].expand_as(query), support[..., :1, :].expand_as(support)),
        "features of size 1e-4": (query * 1e-4, support * 1e-4),
        "features of size 1e4": (query * 1e4, support * 1e4),
        "one clip everywhere": (query[:1].expand_as(query), query[:1].expand_as(support)),
        "opposite frames": (query.abs(), -support.abs()),
    }
    if subject.lengths:
        longer = subject.pair(t=16, u=16)
        cases["16 frames"] = (longer[0].float(), longer[1].float())
    for name, clips in cases.items():
        leaves = [x.clone().requires_grad_() for x in clips]
        value = subject.score(*leaves)
        demand(value.isfinite().all(), f"{name}: the similarity is {value.detach().flatten()[0]:.4g} or the like.")
        for leaf, gradient in zip(("query", "support"), torch.autograd.grad(value.sum(), leaves), strict=True):
            demand(gradient.isfinite().all(), f"{name}: the gradient of the {leaf} is not finite.")
    return ""


def costs(subject: TriedAlignment) -> str:
    """frame costs of 0, 2 and 100, 16 and 32 frames: finite cost and gradient, and the right derivative"""
    metric = subject.metric
    if not isinstance(metric, CostAlignment):
        return "works on features; not tried"
    align = copy.deepcopy(metric).double().align
    for frames in (16, 32):
        for name, cost in (("0", 0.0), ("2", 2.0), ("100", 100.0), ("0 or 100", None)):
            filled = (
                (torch.rand(2, frames, frames) > 0.5) * 100.0 if cost is None else torch.full((2, frames, frames), cost)
            )
            leaf = filled.float().requires_grad_()
            value = align(leaf)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
            demand(value.isfinite().all(), f"{frames} frames, costs of {name}: the value is not finite.")
            demand(gradient.isfinite().all(), f"{frames} frames, costs of {name}: the gradient is not finite.")
    leaf = torch.rand(2, 5, 4, dtype=torch.float64, requires_grad=True)
    derivative(align, (leaf,), "align(cost)")
    return ""


def gradients(subject: TriedAlignment) -> str:
    """the gradient is the derivative (gradcheck in float64)"""
    query, support = (x.requires_grad_() for x in subject.pair(t=None if not subject.lengths else 4))
    derivative(subject.score, (query, support), "forward(query, support)")
    return ""


def parameters(subject: TriedAlignment) -> str:
    """every parameter gets a gradient, and the right one"""
    metric = copy.deepcopy(subject.metric).double().eval()
    trained = {name: p for name, p in metric.named_parameters() if p.requires_grad}
    if not trained:
        return "has none"
    clips = subject.pair(t=None if not subject.lengths else 4)
    value = metric(*clips)
    weights = torch.randn(value.shape, dtype=value.dtype)  # a plain sum can be blind to what moves similarities apart
    demand(value.requires_grad, "the similarity does not depend on any; is it cut off by .item(), .detach() or numpy?")
    found = torch.autograd.grad((value * weights).sum(), list(trained.values()), allow_unused=True)
    unused = [name for name, gradient in zip(trained, found, strict=True) if gradient is None]
    words = "unused, or cut off by .item(), .detach() or numpy; use it, delete it, or set requires_grad=False."
    demand(not unused, f"no gradient reaches {', '.join(unused)}: {words}")

    def at(*values: Tensor) -> Any:
        return torch.func.functional_call(metric, dict(zip(trained, values, strict=True)), clips)

    derivative(at, tuple(p.detach().clone().requires_grad_() for p in trained.values()), "forward by its parameters")
    still = [name for name, gradient in zip(trained, found, strict=True) if not gradient.any()]
    return f"the gradient is 0 for {', '.join(still)}" if still else ""


def derivative(function: Callable[..., Tensor], leaves: tuple[Tensor, ...], name: str) -> None:
    """Raise :class:`Violated` unless the gradient agrees with finite differences."""
    try:
        torch.autograd.gradcheck(function, leaves, atol=1e-5, rtol=1e-4, fast_mode=True)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        raise Violated(f"{name}: the gradient is not the derivative of the value ({first})") from error


def precision(subject: TriedAlignment) -> str:
    """float32 agrees with float64, and bfloat16 features are computed in float32 at least"""
    query, support = subject.pair()
    exact = subject.score(query, support)
    single = subject.score(query.float(), support.float())
    demand(same(single.double(), exact, 1e-4), f"float32 is off by {(single - exact).abs().max():.2g}.")
    half = query.bfloat16(), support.bfloat16()
    try:
        found = subject.score(*half)
    except Exception as error:
        raise Violated(f"bfloat16 features: it raises {type(error).__name__}: {error}") from error
    wanted = subject.score(*(x.double() for x in half))
    demand(
        same(found.double(), wanted, 1e-4),
        f"bfloat16 features: off by {(found - wanted).abs().max():.2g}; widen them "
        "to float32 first (CostAlignment does).",
    )
    return ""


def padding(subject: TriedAlignment) -> str:
    """padded frames count for nothing: any values there, and the same as the shorter clip"""
    query, support = subject.pair()
    t, shorter = subject.frames, subject.frames - 1
    real = torch.tensor([t, t - 2, t - 1])[:, None] > torch.arange(t)
    support_real = (torch.arange(t) < shorter).expand(support.shape[:-1])
    values = []
    for rubbish in (0.0, 1e3, float("nan")):
        clips = query.masked_fill(~real[..., None], rubbish), support.masked_fill(~support_real[..., None], rubbish)
        values.append(subject.score(*clips, real, support_real))
        demand(values[-1].isfinite().all() and same(values[-1], values[0]), f"{rubbish} on padding changes the value.")
    if not subject.lengths:
        return "shorter clips not tried"
    for i, length in enumerate(real.sum(-1).tolist()):
        alone = subject.score(query[i : i + 1, :length], support[..., :shorter, :])
        demand(
            same(values[0][i : i + 1], alone),
            f"a clip of {length} frames padded to {t} scores differently than unpadded.",
        )
    return ""


def report(subject: TriedAlignment) -> str:
    """what it sees (reported, not judged)"""
    query, support = subject.pair()
    value = subject.score(query, support)
    seen = ["order of frames: " + ("unseen" if same(subject.score(query.flip(-2), support), value) else "seen")]
    if not subject.metric.merges_shots and subject.lengths:
        swapped = subject.score(support, query).mT
        seen.append("symmetric: " + ("yes" if same(swapped, value, 1e-6) else "no"))
    scaled = subject.score(query * 3, support * 3)
    seen.append("scale of the features: " + ("unseen" if same(scaled, value, SCALE) else "seen"))
    return "; ".join(seen)


PROPERTIES = (
    shapes,
    lengths,
    independence,
    permutation,
    extremes,
    costs,
    gradients,
    parameters,
    precision,
    padding,
    report,
)


def check(subject: TriedAlignment, say: Callable[[str], None] = print) -> int:
    """Try every property, say how each went, return how many failed."""
    failed = 0
    for property_ in PROPERTIES:
        title = (property_.__doc__ or "").strip()
        try:
            torch.manual_seed(0)
            note = property_(subject)
            say(f"ok      {title}" + (f"\n        {note}" if note else ""))
        except Exception as error:
            failed += 1
            words = str(error) if isinstance(error, Violated) else f"it raises {type(error).__name__}: {error}"
            say(f"FAILED  {title}\n        {words}")
    return failed
