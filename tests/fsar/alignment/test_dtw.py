"""DTW and soft-DTW against tslearn, against loops, and their own identities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from tslearn.metrics import dtw, dtw_path, soft_dtw, soft_dtw_alignment

from fsar.alignment import DTW, SoftDTW, SoftDTWDivergence, SquaredEuclideanCost
from fsar.alignment import dtw as dtw_module

SHAPES = [(1, 1), (1, 5), (5, 1), (6, 9), (8, 8)]


def clips(t: int, u: int) -> tuple[Tensor, Tensor]:
    return torch.randn(2, t, 3, dtype=torch.float64), torch.randn(2, u, 3, dtype=torch.float64)


def soft_loop(cost: Tensor, temperature: float) -> Tensor:
    t, u = cost.shape
    total: dict[tuple[int, int], Tensor] = {(-1, -1): torch.zeros((), dtype=cost.dtype)}
    for i in range(t):
        for j in range(u):
            before = [total[c] for c in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if c in total]
            total[i, j] = cost[i, j] - temperature * torch.logsumexp(-torch.stack(before) / temperature, 0)
    return total[t - 1, u - 1]


@pytest.mark.parametrize(("t", "u"), SHAPES)
def test_dtw_values_and_paths_are_those_of_tslearn(t: int, u: int) -> None:
    query, support = clips(t, u)
    metric = DTW(SquaredEuclideanCost())
    value, path = -metric(query, support), metric.path(query, support)
    for i, x in enumerate(query):
        for j, y in enumerate(support):
            wanted, distance = dtw_path(x.numpy(), y.numpy())
            assert float(value[i, j]) == pytest.approx(distance**2)
            assert float(value[i, j]) == pytest.approx(dtw(x.numpy(), y.numpy()) ** 2)
            assert sorted(wanted) == [tuple(cell) for cell in path[i, j].nonzero().tolist()]
            assert set(path[i, j].unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(("t", "u"), SHAPES)
@pytest.mark.parametrize("temperature", [1.0, 0.01])
def test_soft_dtw_values_and_paths_are_those_of_tslearn(t: int, u: int, temperature: float) -> None:
    query, support = clips(t, u)
    metric = SoftDTW(temperature, SquaredEuclideanCost())
    value, path = -metric(query, support), metric.path(query, support)
    for i, x in enumerate(query):
        for j, y in enumerate(support):
            wanted, _ = soft_dtw_alignment(x.numpy(), y.numpy(), gamma=temperature)
            assert float(value[i, j]) == pytest.approx(soft_dtw(x.numpy(), y.numpy(), gamma=temperature), rel=1e-5)
            torch.testing.assert_close(path[i, j], torch.from_numpy(wanted), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("forced", [torch.float64, None], ids=["float64", "logarithms"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 2), (4, 4)])
def test_soft_dtw_is_the_double_loop(
    forced: torch.dtype | None, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtw_module, "safe_arithmetic", lambda *_, **__: forced)
    cost = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    wanted, found = soft_loop(cost, 0.2), SoftDTW(0.2).align(cost)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(v, cost)[0] for v in (found, wanted)))


@pytest.mark.parametrize("temperature", [0.5, 0.1, 0.01])
def test_float32_agrees_with_float64_for_any_range(temperature: float) -> None:
    cost = torch.rand(4, 64, 64) * 2
    cost[1] *= (torch.rand(64, 64) > 0.5) * 50.0
    value, exact = SoftDTW(temperature).align(cost), SoftDTW(temperature).align(cost.double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-4)


def test_soft_is_below_hard_and_meets_it_when_cold() -> None:
    cost = torch.rand(5, 6, 7, dtype=torch.float64)
    hard = DTW().align(cost)
    assert (SoftDTW(0.5).align(cost) < hard).all()
    torch.testing.assert_close(SoftDTW(1e-4).align(cost), hard, rtol=0, atol=2e-3)


def test_equal_steps_prefer_the_diagonal() -> None:
    path = DTW().assignment(torch.zeros(3, 3))
    torch.testing.assert_close(path, torch.eye(3))


def test_divergence_is_zero_on_itself_and_positive_elsewhere() -> None:
    query, _ = clips(6, 6)
    value = SoftDTWDivergence(1.0, SquaredEuclideanCost())(query, query)
    torch.testing.assert_close(value.diagonal(), torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)
    assert float(value[0, 1]) < 0


def test_temperature_zero_points_to_dtw() -> None:
    with pytest.raises(ValueError, match="for 0 use DTW"):
        SoftDTW(0.0)
