"""Several views of one clip learn of each other: crops, segments in time, cameras.

Zhang et al. 2022, "PointCLIP: Point Cloud Understanding by CLIP", https://arxiv.org/abs/2112.02413, section 3.3. With
f_i the feature of view i of V::

    r    = relu(norm([β_1 f_1; ...; β_V f_V] W_1 + b_1))           what all views say, (d)
    g_i  = relu(relu(r W_2 + b_2) W_3,i + b_3,i)
    f'_i = α g_i + (1 - α) f_i           as released; f_i + g_i with residual="plain", as in the paper's text

The release normalises views and r over the batch (BatchNorm) and drops 7.5 % of the values: ``published=True``. Here
each view is normalised by itself (LayerNorm), since an episode is a batch of few clips.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from episodes.clips import Features
from fsar.fusion.base import Fusion, Levels


class Norm(nn.Module):
    """LayerNorm over the channels of ``(b d)`` or ``(b V d)``, or BatchNorm of each channel over all the rest."""

    def __init__(self, channels: int, over_batch: bool) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels) if over_batch else nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.bn(x.flatten(0, -2)).reshape(x.shape)
        return found


class InterView(Fusion):
    """Inter-view adapter: ``(... V d)`` to the same.

    As ``fusion`` of a method the views are equal segments of a video in time: those at the same place of their segments
    learn of each other.

    Args:
        channels: ``d``.
        views: ``V``.
        hidden: width of r; ``channels`` when not given.
        ratio: α; 0 leaves the views as they are.
        residual: how g comes to f, see the module's text.
        published: BatchNorm and dropout as released.

    Examples:
        >>> InterView(channels=12, views=4)(torch.rand(6, 4, 12)).shape
        torch.Size([6, 4, 12])
    """

    def __init__(
        self,
        channels: int,
        views: int,
        hidden: int | None = None,
        ratio: float = 0.6,
        residual: Literal["ratio", "plain"] = "ratio",
        published: bool = False,
    ) -> None:
        super().__init__()
        if views < 2:
            raise ValueError(f"InterView: views={views}, but there must be two at least to learn of each other.")
        if residual not in ("ratio", "plain"):
            raise ValueError(f"InterView: residual is ratio or plain, found {residual!r}.")
        if not 0 <= ratio <= 1:
            raise ValueError(f"InterView: ratio must lie in 0..1, found {ratio}.")
        hidden = hidden or channels
        dropout = 0.075 if published else 0.0
        self.views, self.channels, self.ratio, self.residual = views, channels, ratio, residual
        self.fusion_ratio = nn.Parameter(torch.full((views,), 0.5))
        self.global_f = nn.Sequential(
            Norm(channels, published),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(views * channels, hidden),
            nn.BatchNorm1d(hidden) if published else nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.view_f = nn.Sequential(
            nn.Linear(hidden, channels), nn.ReLU(), nn.Linear(channels, views * channels), nn.ReLU()
        )

    def fuse(self, features: Features) -> Levels:
        frames = features["frames"]
        length, rest = divmod(frames.shape[-2], self.views)
        if rest or not length:
            raise ValueError(
                f"InterView: {frames.shape[-2]} frames do not fall into views={self.views} equal segments; choose a "
                "divisor."
            )
        segments = frames.unflatten(-2, (self.views, length)).transpose(-3, -2)  # (... t/V V d)
        return {"frames": self(segments).transpose(-3, -2).flatten(-3, -2)}

    def forward(self, views: Tensor) -> Tensor:
        """``(... V d)`` to ``(... V d)``."""
        if views.dim() < 2 or tuple(views.shape[-2:]) != (self.views, self.channels):
            raise ValueError(
                f"InterView was made for views={self.views} of {self.channels} channels, (... V d); found "
                f"{tuple(views.shape)}."
            )
        flat = views.reshape(-1, self.views, self.channels)
        told = self.view_f(self.global_f(flat * self.fusion_ratio[:, None])).unflatten(-1, (self.views, self.channels))
        if self.residual == "plain":
            return (flat + told).reshape(views.shape)
        return (self.ratio * told + (1 - self.ratio) * flat).reshape(views.shape)
