"""Numbers beyond all measure through every alignment: finite, or an error that names the clip."""

from __future__ import annotations

import math

import pytest
import torch
from members import MEMBERS, clips, make
from torch import Tensor

from fsar.alignment import OTAM, CostAlignment, MeanCost, PairwiseCost

ON_COSTS = [name for name, member in MEMBERS.items() if isinstance(member(), CostAlignment)]
HUGE = {"query": "query clip 1", "support": "support clip 1", "both": "query clip 0"}


def finite(value: Tensor, *leaves: Tensor) -> None:
    """Value and gradients."""
    assert value.isfinite().all()
    for gradient in torch.autograd.grad(value.sum(), leaves, allow_unused=True):
        assert gradient is None or gradient.isfinite().all()


def finite_or_named(metric: CostAlignment, cost: Tensor) -> None:
    """Of three pairs of clips the second is the one that is named."""
    try:
        value = metric.align(cost)
    except FloatingPointError as error:
        said = str(error)
    else:
        finite(value, cost)
        return
    assert said.startswith("Matching clips 1 (")


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-12, 1e8, 1e11])
@pytest.mark.parametrize("name", MEMBERS)
def test_features_of_every_length_are_compared(name: str, scale: float) -> None:
    metric = make(name).eval()
    query, support = clips(metric)
    for leaves in ((query * scale, support * scale), (query * scale, support), (query, support * scale)):
        query_leaf, support_leaf = (x.clone().requires_grad_() for x in leaves)
        finite(metric(query_leaf, support_leaf), query_leaf, support_leaf)


@pytest.mark.parametrize("number", [1e30, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("where", HUGE)
@pytest.mark.parametrize("name", MEMBERS)
def test_the_clip_that_overflows_is_named(name: str, where: str, number: float) -> None:
    metric = make(name).eval()
    query, support = clips(metric)
    if where == "both":
        query, support = query * number, support * number
    else:
        (query if where == "query" else support)[1] *= number
    with pytest.raises(FloatingPointError, match=HUGE[where]):
        metric(query, support)


def test_padding_may_hold_anything() -> None:
    metric = OTAM()
    query, support = clips(metric)
    query[0, 3:] = math.inf
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[0, 3:] = False
    assert metric(query, support, mask).isfinite().all()


@pytest.mark.parametrize("size", [1e2, 1e4, 1e10, 1e18, 1e25, 1e30])
@pytest.mark.parametrize("sign", [1, -1, 0])
@pytest.mark.parametrize("name", ON_COSTS)
def test_costs_of_any_size_and_sign(name: str, sign: int, size: float) -> None:
    """Finite value and gradient, or the pair of clips is named."""
    metric = make(name)
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(3, 5, 6, generator=generator)
    filled = torch.where(random > 0.5, 1.0, -1.0) if sign == 0 else sign * (0.5 + random)
    cost = torch.stack([filled[0], filled[1] * size, filled[2]]).requires_grad_()
    finite_or_named(metric, cost)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("cells", [(slice(None), slice(None)), (2, 3), (2, slice(None)), (slice(None), 3)])
@pytest.mark.parametrize("name", ON_COSTS)
def test_costs_without_end(name: str, cells: tuple[object, object], number: float) -> None:
    metric = make(name)
    cost = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    cost[1][cells] = number
    cost.requires_grad_()
    finite_or_named(metric, cost)


def test_the_pair_of_an_infinite_cost_is_named() -> None:
    class Endless(PairwiseCost):
        def forward(self, query: Tensor, support: Tensor) -> Tensor:
            cost = query.new_ones(3, 4, 5, 5)
            cost[2, 1, 0, 0] = math.inf
            return cost

    metric = MeanCost(Endless())
    with pytest.raises(FloatingPointError, match=r"clips 2, 1 .* costs inf: their frame costs go from 1 to inf"):
        metric(*clips(metric))
