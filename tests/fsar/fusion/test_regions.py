"""Regions that move or fit a text: which patches are taken, and that each class has its own query."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from episodes.clips import Features
from fsar.fusion import RegionAttention
from fsar.fusion.regions import gather_regions, measure_motion

T, P, D = 4, 6, 8


def test_what_moves_is_taken_and_what_stands_still_is_not() -> None:
    patches = torch.randn(1, P, D).repeat(T, 1, 1)
    patches[:, 2] += torch.arange(T)[:, None]  # one place changes from frame to frame
    assert measure_motion(patches).argmax(-1).tolist() == [2] * T
    levels = RegionAttention(patches=1).fuse(Features(frames=torch.rand(T, D), patches=patches))
    torch.testing.assert_close(levels["regions"], patches[:, 2])
    torch.testing.assert_close(measure_motion(patches)[0], measure_motion(patches)[1])  # ends count twice
    assert not measure_motion(patches[:1]).any()


def test_all_patches_are_their_mean() -> None:
    patches = torch.randn(3, T, P, D)
    torch.testing.assert_close(gather_regions(patches, torch.randn(3, T, P), P), patches.mean(-2))


def test_a_text_takes_the_patch_that_fits_it_whatever_the_order() -> None:
    text, patches = torch.randn(3, D), torch.randn(2, T, P, D)
    patches[..., 4, :] = 5 * text[1]
    frames = torch.randn(2, T, D)
    part = RegionAttention("text", patches=1)
    found = part.fuse_support(Features(frames=frames, projected=patches), text[1].expand(2, D))["frames"]
    torch.testing.assert_close(found, normalize(frames, dim=-1) + normalize(text[1], dim=-1))
    turned = patches.flip(-2)
    again = part.fuse_support(Features(frames=frames, projected=turned), text[1].expand(2, D))["frames"]
    torch.testing.assert_close(again, found)


def test_a_query_for_each_class_is_what_one_class_alone_gives() -> None:
    clips = Features(frames=torch.randn(5, T, D), projected=torch.randn(5, T, P, D))
    text, part = torch.randn(3, D), RegionAttention("text", patches=2)
    each = part.fuse_for_classes(part.fuse(clips)["frames"], text)
    assert each.shape == (3, 5, T, D)
    for c in range(3):
        torch.testing.assert_close(each[c], part.fuse_support(clips, text[c].expand(5, D))["frames"])


@pytest.mark.parametrize(
    ("options", "said"), [({"by": "depth"}, "by is motion or text"), ({"patches": 0}, "patches must be at least 1")]
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RegionAttention(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="patches=7, but a frame has 6"):
        RegionAttention(patches=7).fuse(Features(frames=torch.rand(T, D), patches=torch.rand(T, P, D)))


def test_motion_is_the_change_from_the_frame_before_and_to_the_frame_after() -> None:
    patches = torch.rand(2, 5, 3, 4)
    found = measure_motion(patches)
    for t in range(5):
        before = patches[:, max(t, 1)] - patches[:, max(t, 1) - 1]
        after = patches[:, min(t, 3) + 1] - patches[:, min(t, 3)]
        torch.testing.assert_close(found[:, t], before.norm(dim=-1) + after.norm(dim=-1))
