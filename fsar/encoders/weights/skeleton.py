"""Points in space -> pictures of their depth from several sides, for a network that was made for pictures.

Zhang et al. 2022, "PointCLIP: Point Cloud Understanding by CLIP", https://arxiv.org/abs/2112.02413, section 3.2. A view
turns the points, moves them ``distance`` away and projects them along z::

    (x, y, z) <- (x, y, z) R_v + (0, 0, distance);   row = round((x/z + 1) s/2),  column = round((y/z + 1) s/2)
    pixel = n / Σ (1/z) over the n points in it        the harmonic mean of their depths, as released
            min z                                      nearest=True: the nearer of two points wins, ours

A pixel without a point is 0. The release has ten views at 224 pixels and distance 1.4 for few-shot, six views at 128
pixels and distance 1.6 for zero-shot.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def turn_about(angles: Tensor) -> Tensor:
    """Rotations ``(v 3 3)``, for points as rows, by angles ``(v 3)`` in radians about x, then y, then z."""
    turned = torch.eye(3, dtype=angles.dtype, device=angles.device).expand(len(angles), 3, 3)
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        step = torch.eye(3, dtype=angles.dtype, device=angles.device).repeat(len(angles), 1, 1)
        cos, sin = angles[:, axis].cos(), angles[:, axis].sin()
        step[:, i, i] = step[:, j, j] = cos
        step[:, i, j], step[:, j, i] = sin, -sin
        turned = turned @ step
    return turned


def spread_views(views: int) -> Tensor:
    """Rotations ``(V 3 3)`` of views spread evenly around the upright axis y, the first from the front."""
    angles = torch.zeros(views, 3)
    angles[:, 1] = torch.arange(views) * (2 * math.pi / views)
    return turn_about(angles)


def project_points(
    points: Tensor, rotations: Tensor, size: int, distance: float = 1.4, nearest: bool = False
) -> Tensor:
    """Depth pictures of points.

    Args:
        points: ``(... N 3)``, about -1..1; NaN for a point that was not seen.
        rotations: ``(V 3 3)``, applied to points as rows.
        size: height and width of a picture, pixels; rows follow x and columns y, as released.
        distance: added to z; points behind the eye are left out.
        nearest: a pixel shows the nearest of its points instead of the harmonic mean.

    Returns:
        ``(... V size size)``, 0 where there is no point.

    Raises:
        ValueError: for points or rotations of another shape.
    """
    if points.dim() < 2 or points.shape[-1] != 3 or rotations.shape[-2:] != (3, 3) or rotations.dim() != 3:
        raise ValueError(
            f"points are (... N 3) and rotations (V 3 3); found {tuple(points.shape)} and {tuple(rotations.shape)}."
        )
    turned = points.unsqueeze(-3) @ rotations  # (... V N 3)
    x, y, z = turned[..., 0], turned[..., 1], turned[..., 2] + distance
    seen = z > 0
    z = torch.where(seen, z, torch.ones_like(z))
    row, column = (((side / z + 1) * (size / 2)).round() for side in (x, y))
    seen &= (row >= 0) & (row < size) & (column >= 0) & (column < size)
    place = torch.where(seen, row * size + column, torch.zeros_like(row)).long()
    pictures = z.new_zeros(*z.shape[:-1], size * size)
    if nearest:
        depth = torch.where(seen, z, torch.full_like(z, math.inf))
        pictures = (pictures + math.inf).scatter_reduce(-1, place, depth, "amin")
        pictures = torch.where(pictures.isinf(), torch.zeros_like(pictures), pictures)
    else:
        count = pictures.scatter_add(-1, place, seen.to(z.dtype))
        inverse = pictures.scatter_add(-1, place, seen / z)
        pictures = torch.where(count > 0, count / inverse.clamp_min(1e-12), pictures)
    return pictures.unflatten(-1, (size, size))
