"""Joints and bones of a body, seen from several sides, through an encoder that was made for pictures.

PointCLIP's projection (:mod:`fsar.encoders.weights.skeleton`) on points along the bones of a skeleton. Of joints
``(t J 3)`` of a clip::

    p  = (joints - their mean over the clip) / the largest distance from it      motion within the clip stays
    x  = near / depth of p and of points along the bones, from V sides around the upright axis     (V s s)
    f  = tower(x), then the inter-view adapter if there is one;  frame = mean_V f, or all V side by side
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from episodes.annotations.joints import find_order
from episodes.clips import Features, Streams
from fsar.encoders.frame import FrameEncoder, Tensors
from fsar.encoders.weights.skeleton import project_points, turn_about
from fsar.fusion.inter_view import InterView


def centre_joints(joints: Tensor) -> Tensor:
    """``(... t J 3)`` in the unit ball: less the mean of a clip, over the largest distance from it; gaps stay NaN."""
    there = ~joints.isnan().any(-1, keepdim=True)
    known = joints.where(there, joints.new_zeros(()))
    mean = known.sum((-3, -2), keepdim=True) / there.sum((-3, -2), keepdim=True).clamp_min(1)
    moved = (known - mean) * there
    radius = moved.norm(dim=-1, keepdim=True).amax((-3, -2), keepdim=True)
    return (moved / radius.clamp_min(1e-6)).where(there, joints.new_full((), math.nan))


def fill_bones(joints: Tensor, bones: Sequence[tuple[int, int]], points: int) -> Tensor:
    """``(... J 3)`` and ``points`` between the two ends of each bone, ``(... J+points·bones 3)``; none on a bone of
    which an end is a gap."""
    first, second = (joints[..., [bone[end] for bone in bones], :].unsqueeze(-2) for end in (0, 1))
    share = (torch.arange(points, dtype=joints.dtype, device=joints.device) + 1)[:, None] / (points + 1)
    return torch.cat([joints, ((1 - share) * first + share * second).flatten(-3, -2)], -2)


class SkeletonViews(FrameEncoder):
    """Joints ``(... t J 3)`` of a clip -> ``frames (... t d)`` through depth pictures and an encoder of pictures.

    Args:
        encoder: of pictures, such as a frozen ``fsar.encoders.ClipEncoder``; it is taken over, not copied.
        order: of the joints, "ntu", "coco" or "hand".
        views: ``V`` sides around the upright axis, the first from the front.
        inter_view: lets the views of a frame learn of each other: ``fsar.fusion.InterView`` of as many views.
        pool: "mean" of the views, which stays in the space of the text; "concat", side by side as released.
        resolution: of the depth pictures before they are enlarged to the encoder's size; a bone is a pixel wide.
        bone_points: along each bone.
        distance: of the eye from the middle of the body, whose farthest joint is at 1; all of it is seen from 1.42 on.

    Raises:
        ValueError: an unknown order, fewer than one view, an adapter for another number of them.

    Examples:
        >>> from fsar.encoders import ClipEncoder
        >>> encoder = SkeletonViews(ClipEncoder("fsar-tiny", "shapes"), "coco", views=2)
        >>> encoder.features(Streams(joints=torch.rand(3, 4, 17, 3)))
        Features(frames=(3, 4, 64))
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        order: Literal["ntu", "coco", "hand"] = "ntu",
        views: int = 4,
        inter_view: InterView | None = None,
        pool: Literal["mean", "concat"] = "mean",
        resolution: int = 56,
        bone_points: int = 8,
        distance: float = 1.6,
    ) -> None:
        found = find_order(order)
        if views < 1 or resolution < 1 or bone_points < 0 or distance <= 1 or pool not in ("mean", "concat"):
            raise ValueError(
                "SkeletonViews: views and resolution are at least 1, bone_points at least 0, distance above 1, pool is "
                f"mean or concat; found {views}, {resolution}, {bone_points}, {distance}, {pool!r}."
            )
        if inter_view is not None and (inter_view.views, inter_view.channels) != (views, encoder.channels):
            raise ValueError(
                f"SkeletonViews: inter_view was made for {inter_view.views} views of {inter_view.channels} channels, "
                f"but there are {views} of {encoder.channels}: give InterView(channels={encoder.channels}, "
                f"views={views})."
            )
        super().__init__(
            encoder.visual,
            channels=encoder.channels * (views if pool == "concat" else 1),
            image_size=encoder.image_size,
            mean=encoder.mean,
            std=encoder.std,
            text=encoder.text if pool == "mean" else None,
            tune="full",  # what is trained was settled by the encoder
            frames_per_chunk=None if encoder.frames_per_chunk is None else max(1, encoder.frames_per_chunk // views),
            identity=f"{encoder.identity} + SkeletonViews {(order, views, pool, resolution, bone_points, distance)}",
            framing=encoder.framing,
        )
        self.order, self.views, self.pool, self.inter_view = order, views, pool, inter_view
        self.joints, self.bones, self.y_up = len(found.names), found.bones, found.y_up
        self.resolution, self.bone_points, self.distance = resolution, bone_points, distance
        angles = torch.zeros(views, 3)
        angles[:, 0] = torch.arange(views) * (2 * math.pi / views)  # rows are the first axis, so it is upright
        self.register_buffer("rotations", turn_about(angles), persistent=False)

    rotations: Tensor

    @property
    def gives(self) -> tuple[str, ...]:
        return ("frames",)

    @property
    def kept_layers(self) -> tuple[int, ...]:
        return ()

    @property
    def frozen(self) -> bool:
        """Whether nothing in the tower and between the views is trained."""
        between = [] if self.inter_view is None else [*self.inter_view.parameters()]
        return super().frozen and not any(weight.requires_grad for weight in between)

    def draw(self, joints: Tensor) -> Tensor:
        """Depth pictures ``(... V s s)`` in 0..1 of joints in the unit ball ``(... J 3)``; the nearer, the brighter."""
        x, y, z = fill_bones(joints, self.bones, self.bone_points).unbind(-1)
        points = torch.stack([-y if self.y_up else y, x, z], -1)
        depth = project_points(points, self.rotations.to(points), self.resolution, self.distance, nearest=True)
        return torch.where(depth > 0, (self.distance - 1) / depth.clamp_min(1e-6), depth).clamp(0, 1)

    def features(self, clips: Streams, needs: Sequence[str] = ("frames",), text: Tensor | None = None) -> Features:
        """See :meth:`FrameEncoder.features`; reads ``joints (... t J 3)`` of the clips.

        Raises:
            ValueError: clips without joints, or of another number of them than the order has.
        """
        self.check_needs(needs, "what is asked for")
        self._check_text(text)
        joints = clips.get("joints")
        if joints is None or joints.dim() < 3 or joints.shape[-2:] != (self.joints, 3):
            what = f"{' and '.join(clips)}, no joints" if joints is None else f"joints {tuple(joints.shape)}"
            raise ValueError(
                f"SkeletonViews reads joints (... t {self.joints} 3) in the order {self.order!r}, found {what}: set "
                "data.joints to the folder of their files, and order to theirs."
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not super().frozen):
            each = self._pass(lambda x: self._encode(x, needs), centre_joints(joints.float()), 2)["frames"]
        if self.inter_view is not None:
            each = self.inter_view(each)
        return Features(frames=each.mean(-2) if self.pool == "mean" else each.flatten(-2))

    def _encode(self, frames: Tensor, needs: Sequence[str]) -> Tensors:
        pictures = nn.functional.interpolate(self.draw(frames), (self.image_size,) * 2, mode="bilinear")
        grey = pictures.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
        return {"frames": self.visual(self._pixels(grey)).float().unflatten(0, (-1, self.views))}
