"""Optimal transport against scipy's assignment and its own marginals."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from fsar.alignment import OptimalTransport


def test_cold_transport_is_the_cheapest_assignment() -> None:
    cost = torch.rand(4, 5, 5, dtype=torch.float64)
    metric = OptimalTransport(epsilon=0.005, iterations=3000)
    value, plan = metric.align(cost), metric.assignment(cost)
    for i, matrix in enumerate(cost):
        row, column = linear_sum_assignment(matrix.numpy())
        assert float(value[i]) == pytest.approx(float(matrix[row, column].mean()), abs=2e-3)
        assert plan[i].argmax(-1).tolist() == column.tolist()


def test_plan_is_the_sinkhorn_matrix() -> None:
    cost = torch.rand(4, 6, dtype=torch.float64)
    a, b = torch.ones(4, dtype=torch.float64) / 4, torch.ones(6, dtype=torch.float64) / 6
    kernel, v = torch.exp(-cost / 0.1), torch.ones(6, dtype=torch.float64)
    for _ in range(50):
        u = a / (kernel @ v)
        v = b / (kernel.T @ u)
    plan = u[:, None] * kernel * v
    metric = OptimalTransport(epsilon=0.1, iterations=50)
    torch.testing.assert_close(metric.assignment(cost), plan)
    torch.testing.assert_close(metric.align(cost), (plan * cost).sum())
    torch.testing.assert_close(plan.sum(0), b)
    torch.testing.assert_close(plan.sum(1), a, rtol=1e-3, atol=1e-4)


def test_envelope_gradient_is_the_plan() -> None:
    cost = torch.rand(2, 4, 3, dtype=torch.float64, requires_grad=True)
    metric = OptimalTransport(gradient="envelope")
    (gradient,) = torch.autograd.grad(metric.align(cost).sum(), cost)
    torch.testing.assert_close(gradient, metric.assignment(cost))
    torch.testing.assert_close(metric.align(cost), OptimalTransport().align(cost))


def test_exact_gradient_is_that_of_the_unrolled_iteration() -> None:
    cost = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    kernel, v = torch.exp(-cost / 0.3), torch.ones(3, dtype=torch.float64)
    for _ in range(100):
        u = 0.25 / (kernel @ v)
        v = 1 / 3 / (kernel.T @ u)
    (wanted,) = torch.autograd.grad((u[:, None] * kernel * v * cost).sum(), cost)
    value = OptimalTransport(epsilon=0.3, iterations=100).align(cost)
    torch.testing.assert_close(torch.autograd.grad(value, cost)[0], wanted)


def test_order_prior_pulls_the_plan_to_the_diagonal() -> None:
    cost = torch.rand(6, 6, dtype=torch.float64)
    free, ordered = (OptimalTransport(order=weight).assignment(cost) for weight in (0.0, 100.0))
    assert ordered.diagonal().sum() > 0.8 > free.diagonal().sum()


def test_weak_marginals_avoid_a_costly_frame() -> None:
    cost = torch.zeros(4, 4, dtype=torch.float64)
    cost[2] = 3.0
    plan = OptimalTransport(unbalanced=0.2).assignment(cost)
    assert plan[2].sum() < 0.05
    bound = OptimalTransport(unbalanced=1e6).assignment(cost)
    torch.testing.assert_close(bound, OptimalTransport().assignment(cost), rtol=1e-4, atol=1e-6)


def test_bad_arguments_are_named() -> None:
    for arguments in ({"epsilon": 0.0}, {"iterations": 0}, {"unbalanced": -1.0}, {"gradient": "none"}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            OptimalTransport(**arguments)
