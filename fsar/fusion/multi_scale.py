"""Several scales of one video, each aligned by itself: patches, layers of the tower, resolutions, strides in time.

A frame as a whole misses what is small, a patch alone what is large. Levels are::

    frames            (t d)          what the encoder gives
    grid g            (g² t w)       patches averaged into g x g cells; each cell is a series of its own
    layer i           (t w)          the mean token of a layer of the tower
    frames r          (t d)          the tower at another resolution, by fsar.encoders.TwoResolutions
    stride s          (t/s d)        means of s frames that follow one another

and the similarity of two videos is ``Σ_l a_l · similarity_l``, a cell's weight its level's share: a is equal
("mean"), or softmax of learned weights ("weights"); "concat" makes one series of all instead, by an MLP over the
levels of a frame side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from episodes.clips import Features
from fsar.fusion.base import Fusion, Levels


def pool_grid(patches: Tensor, cells: int, rows: int | None = None) -> Tensor:
    """Patches averaged into ``cells x cells``: ``(... t p w)`` to ``(... t cells² w)``, row by row.

    Args:
        patches: row by row.
        cells: on a side; those that do not divide the grid overlap by a row, as adaptive pooling does.
        rows: of the grid; when not given it is square.

    Raises:
        ValueError: patches that are no grid of so many rows, or fewer rows than cells.
    """
    count = patches.shape[-2]
    square = rows is None
    rows = math.isqrt(count) if rows is None else rows
    if rows < 1 or count % rows or (square and rows * rows != count) or min(rows, count // rows) < cells:
        raise ValueError(
            f"MultiScale: {count} patches in {rows} rows cannot be averaged into {cells} x {cells} cells; give "
            "rows, or smaller grids."
        )
    flat = patches.flatten(0, -3).unflatten(-2, (rows, -1)).permute(0, 3, 1, 2)
    pooled = nn.functional.adaptive_avg_pool2d(flat, cells)
    return pooled.flatten(-2).mT.reshape(*patches.shape[:-2], cells * cells, patches.shape[-1])


def stride_frames(frames: Tensor, stride: int) -> Tensor:
    """Means of ``stride`` frames that follow one another, the last of what is left: ``(... t d)`` to ``(... u d)``."""
    return torch.stack([piece.mean(-2) for piece in frames.split(stride, dim=-2)], -2)


class MultiScale(Fusion):
    """Several scales of a video.

    Args:
        grids: cells on a side of the levels made of patches, such as [1, 2, 4].
        layers: of the tower, numbered as in "layer 4".
        strides: in time, such as [2, 4].
        fuse: how levels come together, see the module's text.
        rows: of the patches' grid, when it is not square.
        channels: ``d`` of the frames, for "concat".
        width: ``w`` of patches and layers, for "concat".
        resolutions: sizes of a frame beside the tower's own, such as the [96] of a TwoResolutions of that size.

    Raises:
        ValueError: no level beside the frames; "concat" without its widths, or with strides.

    Examples:
        >>> part = MultiScale(grids=[2], strides=[4])
        >>> levels = part.fuse(Features(frames=torch.rand(3, 8, 16), patches=torch.rand(3, 8, 9, 24)))
        >>> {name: tuple(x.shape) for name, x in levels.items()}
        {'frames': (3, 8, 16), 'grid 2': (3, 4, 8, 24), 'stride 4': (3, 2, 16)}
    """

    def __init__(
        self,
        grids: Sequence[int] = (1, 2),
        layers: Sequence[int] = (),
        strides: Sequence[int] = (),
        fuse: Literal["mean", "weights", "concat"] = "mean",
        rows: int | None = None,
        channels: int | None = None,
        width: int | None = None,
        resolutions: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if fuse not in ("mean", "weights", "concat"):
            raise ValueError(f"MultiScale: fuse is mean, weights or concat, found {fuse!r}.")
        if not (grids or layers or strides or resolutions) or min([*grids, *strides, *resolutions], default=1) < 1:
            raise ValueError("MultiScale: give grids, layers or strides, or resolutions, each at least 1.")
        if fuse == "concat" and (channels is None or width is None or strides):
            raise ValueError(
                "MultiScale: fuse='concat' needs channels (of the frames) and width (of patches and layers), and no "
                "strides, since it makes one vector of each frame."
            )
        self.grids, self.layers, self.strides = tuple(grids), tuple(layers), tuple(strides)
        self.others = tuple(f"frames {size}" for size in resolutions)
        self.rows, self.how = rows, fuse
        self.needs = ("frames", *(("patches",) if grids else ()), *(f"layer {i}" for i in layers), *self.others)
        count = 1 + len(grids) + len(layers) + len(strides) + len(resolutions)
        self.weights = nn.Parameter(torch.zeros(count)) if fuse == "weights" else None
        self.mlp: nn.Module | None = None
        if fuse == "concat":
            assert channels is not None
            assert width is not None
            inside = channels * (1 + len(resolutions)) + width * (sum(g * g for g in grids) + len(layers))
            self.mlp = nn.Sequential(nn.Linear(inside, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def fuse(self, features: Features) -> Levels:
        frames = features["frames"]
        levels = {"frames": frames}
        for cells in self.grids:
            pooled = pool_grid(features["patches"], cells, self.rows)  # (... t c w)
            levels[f"grid {cells}"] = pooled.transpose(-3, -2) if self.mlp is None else pooled.flatten(-2)
        levels |= {f"layer {i}": features[f"layer {i}"].mean(-2) for i in self.layers}
        levels |= {name: features[name] for name in self.others}
        levels |= {f"stride {s}": stride_frames(frames, s) for s in self.strides}
        if self.mlp is None:
            return levels
        return {"frames": frames + self.mlp(torch.cat(list(levels.values()), -1))}

    def weigh(self, levels: int) -> Tensor:
        return super().weigh(levels) if self.weights is None else self.weights.softmax(-1)
