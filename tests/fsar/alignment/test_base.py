"""The base classes, a metric of a user's own, and sums of metrics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fsar.alignment import OTAM, TRX, Alignment, CostAlignment, FrameMean, WeightedSum


class WorstFrame(CostAlignment):
    """What a user writes."""

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        return cost.amin(-1).amax(-1)


def test_a_users_metric_gets_costs_sign_and_path() -> None:
    metric = WorstFrame()
    query, support = torch.randn(2, 3, 4, 8), torch.randn(5, 6, 8)
    cost = metric.cost(query, support)
    torch.testing.assert_close(metric(query, support), -cost.amin(-1).amax(-1))
    path = metric.path(query, support)
    assert path.shape == (2, 3, 5, 4, 6)
    assert (path.sum((-2, -1)) == 1).all()


def test_leading_axes_broadcast_both_ways() -> None:
    query, support = torch.randn(2, 1, 3, 4, 8), torch.randn(7, 5, 4, 8)
    found = OTAM()(query, support)
    assert found.shape == (2, 7, 3, 5)
    torch.testing.assert_close(found[1, 6], OTAM()(query[1, 0], support[6]))


def test_one_mask_is_enough() -> None:
    query, support = torch.randn(2, 4, 8), torch.randn(3, 5, 8)
    mask = torch.arange(4).expand(2, 4) < 3
    torch.testing.assert_close(OTAM()(query, support, mask), OTAM()(query[:, :3], support))
    mask = torch.arange(5).expand(3, 5) < 2
    torch.testing.assert_close(OTAM()(query, support, None, mask), OTAM()(query, support[:, :2]))


@pytest.mark.parametrize("shapes", [((4, 8), (3, 4, 8)), ((2, 4, 8), (3, 4, 7)), ((2, 4, 8), (4, 8))])
def test_wrong_shapes_are_told(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="must be"):
        OTAM()(*(torch.zeros(s) for s in shapes))


def test_unfinished_classes_say_what_is_missing() -> None:
    clips = torch.zeros(1, 1, 1)
    with pytest.raises(NotImplementedError, match="must define forward"):
        Alignment()(clips, clips)
    with pytest.raises(NotImplementedError, match="must define align"):
        CostAlignment()(clips, clips)


def test_weighted_sum_adds() -> None:
    query, support = torch.randn(2, 4, 8), torch.randn(3, 4, 8)
    found = WeightedSum([OTAM(), FrameMean()], [2.0, -0.5])(query, support)
    torch.testing.assert_close(found, 2 * OTAM()(query, support) - 0.5 * FrameMean()(query, support))


def test_weighted_sum_refuses_what_does_not_add_up() -> None:
    with pytest.raises(ValueError, match="one weight for each part, found 1 for 2"):
        WeightedSum([OTAM(), FrameMean()], [1.0])
    with pytest.raises(ValueError, match="one weight for each part"):
        WeightedSum([])
    with pytest.raises(ValueError, match="merges_shots"):
        WeightedSum([OTAM(), TRX(4)])
    assert WeightedSum([TRX(4)]).merges_shots
