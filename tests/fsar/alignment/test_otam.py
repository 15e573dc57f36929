"""OTAM against stored outputs, a double loop, and its own identities."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from fsar.alignment import OTAM, CosineCost
from fsar.alignment import otam as otam_module
from fsar.alignment.otam import _logarithmic, otam

CASES = [f"case{i}" for i in range(7)]


def published_loop(cost: Tensor, temperature: float) -> Tensor:
    """The released recurrence, one cell at a time, for one cost matrix (t u), in float64."""
    t, u = cost.shape
    total = [[torch.zeros((), dtype=torch.float64)] * (u + 2) for _ in range(t)]

    def soft(*entries: Tensor) -> Tensor:
        return -temperature * torch.logsumexp(-torch.stack(entries) / temperature, 0)

    for m in range(1, u + 1):
        total[0][m] = cost[0, m - 1] + total[0][m - 1]
    total[0][u + 1] = total[0][u]
    for row in range(1, t):
        for m in range(1, u + 2):
            entries = [total[row - 1][m - 1], total[row][m - 1]]
            if m in (1, u + 1):
                entries.append(total[row - 1][m])
            total[row][m] = soft(*entries) + (cost[row, m - 1] if m <= u else 0)
    return total[t - 1][u + 1]


@pytest.fixture(params=["as chosen", "float64", "logarithms"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every arithmetic on every case, whatever the range of the costs asks for."""
    forced = {"float64": torch.float64, "logarithms": None}
    if request.param in forced:
        monkeypatch.setattr(otam_module, "safe_arithmetic", lambda *_, **__: forced[request.param])
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_released_code(case: str, arithmetic: str, reference) -> None:
    arrays = reference("otam", case)
    cost, temperature = arrays["cost"].requires_grad_(), float(arrays["gamma"])
    one_way = otam(cost, temperature, bidirectional=False)
    both = otam(cost, temperature)
    (gradient,) = torch.autograd.grad((arrays["weight"] * both).sum(), cost)
    torch.testing.assert_close(one_way, arrays["one_way"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(both, arrays["bidirectional"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, arrays["grad_cost_bidirectional"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 2), (3, 5), (5, 3)])
@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_double_loop(shape: tuple[int, int], temperature: float, arithmetic: str) -> None:
    cost = torch.rand(2, *shape, dtype=torch.float64, requires_grad=True)
    wanted = torch.stack([published_loop(c, temperature) + published_loop(c.mT, temperature) for c in cost])
    (wanted_gradient,) = torch.autograd.grad(wanted.sum(), cost)
    if arithmetic == "float64" and temperature == 0.01:
        cost = (cost * 0.5).detach().requires_grad_()  # inside its range
        wanted = torch.stack([published_loop(c, temperature) + published_loop(c.mT, temperature) for c in cost])
        (wanted_gradient,) = torch.autograd.grad(wanted.sum(), cost)
    found = otam(cost, temperature)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), cost)[0], wanted_gradient)


def test_single_boundary_counts_every_path_once(arithmetic: str) -> None:
    cost = torch.rand(4, 3, dtype=torch.float64)
    paths = []
    for start in range(4):
        for moves in itertools.product((0, 1), repeat=2):
            rows = [start, start + moves[0], start + sum(moves)]
            if rows[-1] < 4:
                paths.append(sum(cost[row, m] for m, row in enumerate(rows)))
    wanted = -0.3 * torch.logsumexp(-torch.stack(paths) / 0.3, 0)
    torch.testing.assert_close(otam(cost, 0.3, bidirectional=False, boundary="single"), wanted)


@pytest.mark.parametrize(
    ("temperature", "frames", "cost", "value"),
    [
        (0.1, 8, 1.4, 10.4508),
        (0.1, 16, 1.0, 14.6202),
        (0.1, 32, 0.5, 13.4379),
        (0.1, 64, 0.3, 14.3446),
        (0.5, 32, 2.0, 51.1840),
        (0.5, 64, 1.2, 52.5018),
        (0.5, 128, 1.0, 81.1451),
        (0.5, 8, 0.5, 0.1072),
    ],
)
def test_finite_and_right_where_released_code_overflows(
    temperature: float, frames: int, cost: float, value: float
) -> None:
    matrix = torch.full((frames, frames), cost, requires_grad=True)
    found = otam(matrix, temperature, bidirectional=False)
    found.backward()
    assert float(found.detach()) == pytest.approx(value, abs=1e-4)
    assert matrix.grad is not None
    assert matrix.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("frames", [8, 32, 128])
def test_float32_agrees_with_float64_for_any_range(temperature: float, frames: int) -> None:
    cost = torch.rand(5, frames, frames) * 2
    cost[1] *= (torch.rand(frames, frames) > 0.5) * 50.0
    cost[2] -= 1.0
    leaf, exact_leaf = cost.clone().requires_grad_(), cost.double().requires_grad_()
    value, exact = otam(leaf, temperature), otam(exact_leaf, temperature)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-4)
    gradient, exact_gradient = (torch.autograd.grad(v.sum(), x)[0] for v, x in ((value, leaf), (exact, exact_leaf)))
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("frames", [40, 120, 300])
def test_two_equal_clips_of_many_frames(frames: int) -> None:
    """Costs are near 0, so the number of paths alone decides which arithmetic is wide enough."""
    clip = 10 * torch.randn(1, 1, 16).expand(1, frames, 16)
    value, cost = OTAM()(clip, clip), CosineCost()(clip, clip)
    one_way, _ = _logarithmic(cost[0].double().movedim(0, -1).mul(-2), None, None, False, True)
    torch.testing.assert_close(value[0].double(), one_way, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("temperature", "lowest"), [(0.5, -3.0), (0.1, -3.0), (0.1, -20.0)])
def test_negative_costs_do_not_overflow(temperature: float, lowest: float) -> None:
    cost = torch.rand(1, 16, 16) * lowest
    found, leaf = otam(cost, temperature), cost.clone().requires_grad_()
    exact = published_loop(cost[0].double(), temperature) + published_loop(cost[0].double().mT, temperature)
    torch.testing.assert_close(found[0].double(), exact, rtol=1e-5, atol=1e-4)
    assert torch.autograd.grad(otam(leaf, temperature).sum(), leaf)[0].isfinite().all()


def test_gradient_is_the_expected_alignment() -> None:
    cost = torch.rand(3, 6, 7, dtype=torch.float64)
    path = OTAM(bidirectional=False).assignment(cost)
    assert (path >= 0).all()
    torch.testing.assert_close(path[..., 1:].sum(-2), torch.ones(3, 6, dtype=torch.float64))
    assert (path[..., 0].sum(-1) >= 1).all()
    once = OTAM(bidirectional=False, boundary="single").assignment(cost)
    torch.testing.assert_close(once.sum(-2), torch.ones(3, 7, dtype=torch.float64))
    single = OTAM(bidirectional=False).assignment(cost[:, :1])
    torch.testing.assert_close(single, torch.ones_like(single))


def test_path_of_features_is_that_of_their_costs() -> None:
    metric = OTAM()
    query, support = torch.randn(2, 4, 8), torch.randn(3, 5, 8)
    with torch.inference_mode():
        path = metric.path(query, support)
    assert path.shape == (2, 3, 4, 5)
    torch.testing.assert_close(path, metric.assignment(metric.cost(query, support)))


def test_cold_is_the_hard_minimum() -> None:
    cost = torch.rand(4, 5, dtype=torch.float64)
    hard = min(
        sum(cost[row, m] for m, row in enumerate(itertools.accumulate(moves, initial=start)))
        for start in range(4)
        for moves in itertools.product((0, 1), repeat=4)
        if start + sum(moves) < 4
    )
    for temperature in (0.1, 0.01, 0.001):
        gap = float(hard - otam(cost, temperature, bidirectional=False))
        assert 0 <= gap <= temperature * math.log(2 * 2 * 3 * 2**4 * 4)


def test_infinite_costs_forbid_a_cell() -> None:
    cost = torch.rand(4, 4)
    cost[0, 1:] = torch.inf
    leaf = cost.requires_grad_()
    value = otam(leaf, bidirectional=False)
    value.backward()
    assert value.isfinite()
    assert (leaf.grad[0, 1:] == 0).all()


def test_no_queries_give_no_similarities() -> None:
    assert OTAM()(torch.zeros(0, 8, 4), torch.zeros(5, 8, 4)).shape == (0, 5)


@pytest.mark.parametrize("arguments", [{"temperature": 0.0}, {"temperature": float("nan")}, {"boundary": "paper"}])
def test_bad_arguments_are_named(arguments: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        OTAM(**arguments)
