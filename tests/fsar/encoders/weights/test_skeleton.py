"""Depth pictures of points against the released projection, and where a point lands."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fsar.encoders.weights.skeleton import project_points, spread_views, turn_about


@pytest.mark.parametrize(("kind", "distance"), [("zs", 1.6), ("fs", 1.4)])
def test_as_released(reference: Callable[..., dict[str, Tensor]], kind: str, distance: float) -> None:
    arrays = reference(f"pointclip_views_{kind}")
    size = arrays["images"].shape[-1]
    found = project_points(arrays["points"], arrays["rot_mat"], size, distance)
    torch.testing.assert_close(found, arrays["images"], atol=1e-5, rtol=0)


def test_where_a_point_lands_and_which_of_two_is_seen() -> None:
    front = torch.eye(3)[None]
    found = project_points(torch.tensor([[0.0, 0.4, 0.2]]), front, 64, 1.4)
    assert found[0].nonzero().tolist() == [[32, 40]]
    assert float(found.max()) == pytest.approx(1.6)
    pair = torch.tensor([[0.0, 0.0, 0.6], [0.0, 0.0, -0.4]])  # depths 2 and 1
    assert float(project_points(pair, front, 8, 1.4).max()) == pytest.approx(2 / (1 / 2 + 1 / 1))
    assert float(project_points(pair, front, 8, 1.4, nearest=True).max()) == pytest.approx(1.0)


def test_points_behind_the_eye_or_not_seen_leave_no_trace() -> None:
    points = torch.tensor([[0.0, 0.0, -2.0], [math.nan] * 3, [50.0, 0.0, 0.0]])
    for nearest in (False, True):
        found = project_points(points, spread_views(1), 16, nearest=nearest)
        assert float(found.abs().max()) == 0


def test_views_are_rotations_from_all_sides() -> None:
    views = spread_views(4).double()
    torch.testing.assert_close(views @ views.mT, torch.eye(3, dtype=torch.float64).expand(4, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(views.det(), torch.ones(4, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(views[0], torch.eye(3, dtype=torch.float64))
    quarter = turn_about(torch.tensor([[0.0, 0.0, math.pi / 2]]))
    torch.testing.assert_close(torch.tensor([1.0, 0, 0]) @ quarter[0], torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
    clips = torch.randn(2, 5, 7, 3)
    assert torch.equal(project_points(clips, spread_views(3), 8)[1, 4], project_points(clips[1, 4], spread_views(3), 8))


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"points are \(\.\.\. N 3\)"):
        project_points(torch.rand(5, 2), torch.eye(3)[None], 8)
