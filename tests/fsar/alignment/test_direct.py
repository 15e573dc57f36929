"""Frame means, rigid matching and the Hausdorff family against loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fsar.alignment import (
    BiMHM,
    Chamfer,
    CostAlignment,
    FrameMean,
    FrameToFrame,
    Hausdorff,
    MeanCost,
    MeanHausdorff,
    SquaredEuclideanCost,
)


@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
def test_released_bi_mhm(case: str, reference) -> None:
    arrays = reference("bi_mhm", case)
    found = BiMHM().align(arrays["cost"])
    torch.testing.assert_close(found, arrays["bidirectional_mean_hausdorff"], rtol=1e-5, atol=1e-5)


def rows(cost: Tensor) -> list[float]:
    return [min(line) for line in cost.tolist()]


@pytest.mark.parametrize(
    ("metric", "loop"),
    [
        (MeanCost(), lambda c: sum(map(sum, c.tolist())) / 15),
        (MeanHausdorff(), lambda c: sum(rows(c))),
        (BiMHM(), lambda c: sum(rows(c)) + sum(rows(c.mT))),
        (Chamfer(), lambda c: sum(rows(c)) / 5 + sum(rows(c.mT)) / 3),
        (Hausdorff(), lambda c: max(rows(c) + rows(c.mT))),
        (FrameToFrame(), lambda c: float(c[0, 0] + c[1, 0] + c[2, 1] + c[3, 2] + c[4, 2])),
    ],
    ids=lambda x: type(x).__name__,
)
def test_formula(metric: CostAlignment, loop) -> None:
    cost = torch.rand(5, 3, dtype=torch.float64)
    assert float(metric.align(cost)) == pytest.approx(loop(cost))


def test_rigid_matching_is_the_diagonal_for_clips_of_equal_length() -> None:
    cost = torch.rand(4, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(FrameToFrame().align(cost), cost.diagonal(dim1=-2, dim2=-1).sum(-1))


def test_soft_minimum_becomes_the_hard_one() -> None:
    cost = torch.rand(4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(BiMHM(1e-4).align(cost), BiMHM().align(cost), rtol=0, atol=1e-2)
    assert (BiMHM(0.5).align(cost) < BiMHM().align(cost)).all()


def test_equal_frames_share_the_gradient() -> None:
    path = MeanHausdorff().assignment(torch.ones(2, 4))
    torch.testing.assert_close(path, torch.full((2, 4), 0.25))


def test_frame_mean_is_a_cosine_of_means() -> None:
    query, support = torch.randn(3, 4, 8, dtype=torch.float64), torch.randn(2, 5, 8, dtype=torch.float64)
    wanted = torch.cosine_similarity(query.mean(1)[:, None], support.mean(1)[None], dim=-1)
    torch.testing.assert_close(FrameMean()(query, support), wanted - 1)


def test_frame_mean_with_euclidean_cost_is_the_prototypical_network() -> None:
    query, support = torch.randn(3, 4, 8, dtype=torch.float64), torch.randn(2, 5, 8, dtype=torch.float64)
    wanted = -torch.cdist(query.mean(1), support.mean(1)).square()
    torch.testing.assert_close(FrameMean(SquaredEuclideanCost())(query, support), wanted)


def test_negative_temperature_is_named() -> None:
    with pytest.raises(ValueError, match="Chamfer: temperature"):
        Chamfer(temperature=-1.0)
