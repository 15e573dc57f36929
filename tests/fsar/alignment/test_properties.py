"""Every property that an alignment must have, over every alignment of the package. A new one is covered by a line."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from members import MEMBERS, make

import fsar.alignment
from fsar.alignment import (
    DTW,
    OTAM,
    Alignment,
    AlphaDistance,
    CostAlignment,
    OptimalTransport,
    SoftDTW,
)

SEES_NO_ORDER = {
    "frame mean",
    "frame mean, Euclidean",
    "mean cost",
    "mean Hausdorff",
    "Bi-MHM",
    "Bi-MHM, soft",
    "Chamfer",
    "Hausdorff",
    "transport",
    "transport, unbalanced",
    "cross-transformer",
}
PROPERTIES = (
    "shapes",
    "lengths",
    "independence",
    "permutation",
    "extremes",
    "costs",
    "gradients",
    "parameters",
    "precision",
    "padding",
)


@pytest.mark.parametrize("property_", PROPERTIES)
@pytest.mark.parametrize("name", MEMBERS)
def test_property(name: str, property_: str, alignment_properties: ModuleType) -> None:
    metric = make(name)
    fixed = isinstance(metric, AlphaDistance)
    subject = alignment_properties.TriedAlignment(metric, channels=14 if fixed else 16, lengths=not fixed)
    getattr(alignment_properties, property_)(subject)


@pytest.mark.parametrize("name", MEMBERS)
def test_order_is_seen_where_the_docstring_says_so(name: str) -> None:
    metric = make(name).double().eval()
    channels = 14 if isinstance(metric, AlphaDistance) else 16
    query, support = (torch.randn(3, 5, channels, dtype=torch.float64) for _ in range(2))
    shots = support[:, None] if metric.merges_shots else support
    unchanged = torch.allclose(metric(query.flip(-2), shots), metric(query, shots), atol=1e-9)
    assert unchanged == (name in SEES_NO_ORDER)


@pytest.mark.parametrize("name", [n for n, m in MEMBERS.items() if isinstance(m(), CostAlignment)])
def test_padding_of_each_pair_equals_the_shorter_pair(name: str) -> None:
    metric = make(name).double()
    cost = torch.rand(4, 6, 5, dtype=torch.float64)
    lengths = [(6, 5), (4, 3), (1, 2), (5, 1)]
    mask = torch.stack([(torch.arange(6) < t)[:, None] & (torch.arange(5) < u) for t, u in lengths])
    leaf = cost.masked_fill(~mask, 0).requires_grad_()
    value = metric.align(leaf, mask)
    path = metric.assignment(leaf, mask)
    for i, (t, u) in enumerate(lengths):
        alone = cost[i, :t, :u]
        torch.testing.assert_close(value[i], metric.align(alone))
        torch.testing.assert_close(path[i, :t, :u], metric.assignment(alone))
        assert path[i].count_nonzero() == path[i, :t, :u].count_nonzero()


@pytest.mark.parametrize("name", [n for n, m in MEMBERS.items() if isinstance(m(), CostAlignment)])
def test_many_pairs_are_solved_as_few(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make(name)
    cost = torch.rand(3, 5, 6, 4, requires_grad=True)
    together = metric.align(cost)
    (gradient,) = torch.autograd.grad(together.sum(), cost)
    monkeypatch.setattr("fsar.alignment.base.FRAMES_AT_ONCE", 12)  # two pairs at a time
    torch.testing.assert_close(metric.align(cost), together)
    torch.testing.assert_close(torch.autograd.grad(metric.align(cost).sum(), cost)[0], gradient)


@pytest.mark.parametrize("name", MEMBERS)
def test_autocast_changes_nothing(name: str) -> None:
    metric = make(name).eval()
    channels = 14 if isinstance(metric, AlphaDistance) else 16
    query, support = torch.randn(2, 5, channels), torch.randn(3, 5, channels)
    support = support[:, None] if metric.merges_shots else support
    with torch.autocast("cpu", torch.bfloat16):
        found = metric(query, support)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, metric(query, support))


def test_every_exported_alignment_is_a_member() -> None:
    exported = {getattr(fsar.alignment, name) for name in fsar.alignment.__all__}
    classes = {x for x in exported if isinstance(x, type) and issubclass(x, Alignment)} - {Alignment, CostAlignment}
    assert classes == {type(make(name)) for name in MEMBERS}


@pytest.mark.parametrize("metric", [OTAM(), SoftDTW(), OptimalTransport(iterations=3)], ids=lambda m: type(m).__name__)
def test_second_derivative_is_refused(metric: CostAlignment) -> None:
    query = torch.randn(2, 4, 8, requires_grad=True)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(metric(query, torch.randn(2, 4, 8)).sum(), query, create_graph=True)


@pytest.mark.parametrize("metric", [OTAM(), DTW(), SoftDTW(), OptimalTransport()], ids=lambda m: type(m).__name__)
def test_backward_keeps_one_matrix(metric: CostAlignment) -> None:
    kept: list[int] = []

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept.append(x.numel() * x.element_size())
        return x

    cost = torch.rand(10, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        metric.align(cost)
    assert 0 < sum(kept) <= 2 * cost.numel() * cost.element_size()
