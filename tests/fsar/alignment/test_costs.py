"""Frame costs."""

from __future__ import annotations

import pytest
import torch

from fsar.alignment import CosineCost, PairwiseCost, SquaredEuclideanCost


def test_published_cosine(reference) -> None:
    arrays = reference("frame_cosine", "case0")
    found = 1 - CosineCost()(arrays["query"], arrays["support"])
    torch.testing.assert_close(found, arrays["cosine_similarity"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("epsilon", [0.01, 0.0])
def test_cosine_is_the_loop_over_frames(epsilon: float) -> None:
    query, support = torch.randn(2, 3, 4, 5).double(), torch.randn(2, 2, 6, 5).double()
    found = CosineCost(epsilon)(query, support)
    assert found.shape == (2, 3, 2, 4, 6)
    for e, q, n, t, u in torch.cartesian_prod(*(torch.arange(x) for x in found.shape)).tolist():
        x, y = query[e, q, t], support[e, n, u]
        torch.testing.assert_close(found[e, q, n, t, u], 1 - x @ y / (x.norm() * y.norm() + epsilon))


def test_only_the_plain_cosine_ignores_scale() -> None:
    query, support = torch.randn(2, 3, 5).double(), torch.randn(2, 3, 5).double()
    for scale in (1e-4, 1e4):
        torch.testing.assert_close(CosineCost(0.0)(query * scale, support), CosineCost(0.0)(query, support))
        assert not torch.allclose(CosineCost()(query * scale, support), CosineCost()(query, support))


@pytest.mark.parametrize("epsilon", [0.01, 0.0])
def test_zero_frames_are_orthogonal_to_all_with_a_finite_gradient(epsilon: float) -> None:
    query = torch.zeros(1, 2, 4, requires_grad=True)
    cost = CosineCost(epsilon)(query, torch.randn(3, 2, 4))
    cost.sum().backward()
    assert (cost == 1).all()
    assert query.grad is not None
    assert query.grad.abs().max() < 1e3


def test_squared_euclidean_is_cdist_squared_and_never_negative() -> None:
    query, support = torch.randn(3, 4, 5).double(), torch.randn(2, 6, 5).double()
    wanted = torch.cdist(query[:, None], support[None]).square()
    torch.testing.assert_close(SquaredEuclideanCost()(query, support), wanted)
    long = torch.randn(1, 8, 64) * 100
    assert SquaredEuclideanCost()(long, long).min() >= 0


def test_a_cost_without_forward_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="PairwiseCost must define forward"):
        PairwiseCost()(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
