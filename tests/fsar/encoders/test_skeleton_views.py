"""Joints through depth pictures and a tower for pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from episodes.clips import Streams
from fsar.encoders import ClipEncoder, SkeletonViews
from fsar.encoders.skeleton_views import centre_joints, fill_bones
from fsar.fusion import InterView

Make = Callable[..., ClipEncoder]


def joints(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, 17, 3, generator=torch.Generator().manual_seed(seed))


def test_features_of_a_clip_do_not_depend_on_its_batch_place_or_size(tiny: Make) -> None:
    encoder = SkeletonViews(tiny(), "coco", views=3, resolution=16).eval()
    some = joints(2, 4)
    found = encoder.features(Streams(joints=some))["frames"]
    assert found.shape == (2, 4, 48)
    assert encoder.frozen
    one = encoder.features(Streams(joints=some[1] * 7 + 2))["frames"]
    torch.testing.assert_close(found[1], one, atol=1e-4, rtol=1e-4)
    side_by_side = SkeletonViews(tiny(), "coco", views=3, pool="concat", resolution=16).eval()
    each = side_by_side.features(Streams(joints=some))["frames"]
    assert (side_by_side.channels, side_by_side.text) == (144, None)
    torch.testing.assert_close(each.unflatten(-1, (3, 48)).mean(-2), found, atol=1e-5, rtol=1e-5)


def test_the_whole_body_is_seen_upright_and_turning_it_turns_the_views(tiny: Make) -> None:
    encoder = SkeletonViews(tiny(), "coco", views=4, resolution=32)
    body = centre_joints(joints(1))[0]
    assert float(body.norm(dim=-1).max()) == pytest.approx(1.0)
    pictures = encoder.draw(body)
    assert pictures.shape == (4, 32, 32)
    assert 0 < float(pictures.max()) <= 1
    quarter = torch.stack([-body[:, 2], body[:, 1], body[:, 0]], -1)
    other = encoder.draw(quarter)
    shift = 1 if float((other[0] - pictures[1]).abs().mean()) < float((other[0] - pictures[3]).abs().mean()) else 3
    torch.testing.assert_close(other, pictures.roll(-shift, 0), atol=1e-4, rtol=0)
    head = torch.full((17, 3), math.nan)
    head[0] = torch.tensor([0.0, -0.9, 0.0])  # y down, as in COCO
    assert int(encoder.draw(head)[0].nonzero()[0, 0]) < 16


def test_gaps_leave_no_trace_and_bones_need_both_ends() -> None:
    some = joints(4)
    some[1, 3] = math.nan
    centred = centre_joints(some)
    assert int(centred.isnan().sum()) == 3
    torch.testing.assert_close(centred[some.isfinite()].reshape(-1, 3).mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    filled = fill_bones(some, ((0, 1), (3, 4)), 2)
    assert filled.shape == (4, 21, 3)
    torch.testing.assert_close(filled[0, 17], some[0, 0] * 2 / 3 + some[0, 1] / 3)
    assert bool(filled[1, 19:].isnan().all())
    assert not bool(filled[0].isnan().any())
    assert bool(centre_joints(torch.full((2, 17, 3), math.nan)).isnan().all())


def test_the_adapter_between_views_is_trained_and_the_tower_is_not(tiny: Make) -> None:
    between = InterView(channels=48, views=2)
    encoder = SkeletonViews(tiny(), "coco", views=2, inter_view=between, resolution=8)
    assert not encoder.frozen
    encoder.features(Streams(joints=joints(2)))["frames"].sum().backward()
    assert between.fusion_ratio.grad is not None
    assert all(weight.grad is None for weight in encoder.visual.parameters())


def test_what_does_not_fit_is_refused(tiny: Make) -> None:
    with pytest.raises(ValueError, match="made for 3 views of 48 channels, but there are 2"):
        SkeletonViews(tiny(), "coco", views=2, inter_view=InterView(channels=48, views=3))
    with pytest.raises(ValueError, match="distance above 1"):
        SkeletonViews(tiny(), distance=0.5)
    encoder = SkeletonViews(tiny(), "ntu", views=2)
    with pytest.raises(
        ValueError, match=r"reads joints \(\.\.\. t 25 3\) in the order 'ntu', found joints \(2, 17, 3\)"
    ):
        encoder.features(Streams(joints=joints(2)))
    with pytest.raises(ValueError, match="found frames, no joints"):
        encoder.features(Streams(frames=torch.zeros(2, 3, 32, 32, dtype=torch.uint8)))
