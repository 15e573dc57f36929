"""D2ST-Adapter: deformable attention over space and over time in a bottleneck after every block.

Pei, Tan et al., "D2ST-Adapter: Disentangled-and-Deformable Spatio-Temporal Adapter for Few-shot Action Recognition",
https://arxiv.org/abs/2312.01431 (ICCV 2025), section 3; released code https://github.com/qizhongtan/D2ST-Adapter.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from fsar.adapters.base import Adapter, Block, Clip, LayerNorm, Linear, Part, StageAdapter, Tower

Size = tuple[int, int, int]
SPATIAL: tuple[Size, Size] = ((4, 5, 5), (4, 3, 3))  # kernel and stride over (t h w)
TEMPORAL: tuple[Size, Size] = ((1, 7, 7), (1, 7, 7))
_WIDE: tuple[tuple[Size, Size], tuple[Size, Size]] = (((4, 7, 7), (4, 7, 7)), ((1, 14, 14), (1, 14, 14)))
STAGES: tuple[tuple[int, tuple[Size, Size], tuple[Size, Size]], ...] = (
    (1, *_WIDE),
    (2, *_WIDE),
    (4, SPATIAL, TEMPORAL),
    (8, ((4, 4, 4), (4, 3, 3)), TEMPORAL),
)
"""Groups, spatial and temporal kernels and strides of a ResNet's four stages, as released."""


class D2STAdapter(Adapter):
    """After every block, on a bottleneck ``z`` of all tokens; zero at first, so that the tower is CLIP at first.

    ::

        z = GELU(X W_d + b_d), patches + depthwise Conv3d 3x3x3 of them (their position)
        S = z + DA_s(LN_s z);  T = z + DA_t(LN_t z);  y = GELU((S + T) / 2)
        X <- X + GELU(y W_u + b_u)

    Args:
        ratio: channels of ``z``, as a part of the tower's width; 0.25 in the paper.
        groups: heads of the attention and groups of its offsets; 4 in the paper.
        frames: ``t`` of the learned frame embeddings, which start at zero; 0 for none.
        tune_ends: train the tower's class embedding and closing norm too, as published.

    7,274,304 trained weights in the adapters of ViT-B. Needs 4 frames and a grid of 7 x 7 patches at least.

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in D2STAdapter().part(0, tower).parameters())  # in each of its blocks
    5460
    """

    def __init__(self, ratio: float = 0.25, groups: int = 4, frames: int = 8, tune_ends: bool = True) -> None:
        self.ratio = ratio
        self.groups = groups
        self.frames = frames or None
        self.trained = ("class_embedding", "ln_post.weight", "ln_post.bias") if tune_ends else ()

    def part(self, index: int, tower: Tower) -> Part:
        hidden = round(tower.width * self.ratio)
        if hidden % self.groups:
            raise ValueError(f"D2STAdapter: groups={self.groups} must divide the {hidden} channels of the bottleneck.")
        return D2STPart(tower.width, hidden, self.groups, tower.grid)


class Pathways(Part):
    """The bottleneck of a D2ST-Adapter, whatever it stands in: where tokens are, the spatial and the temporal path."""

    def __init__(self, width: int, hidden: int, groups: int, spatial: tuple[Size, Size], temporal: tuple[Size, Size]):
        super().__init__()
        self.down, self.up = Linear(width, hidden), Linear(hidden, width)
        self.position = nn.Conv3d(hidden, hidden, 3, padding=1, groups=hidden)
        self.norm_spatial, self.norm_temporal = LayerNorm(hidden), LayerNorm(hidden)
        self.spatial = DeformableAttention(hidden, groups, *spatial)
        self.temporal = DeformableAttention(hidden, groups, *temporal)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def mixed(self, z: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(b t l c)``, the patches last, to ``y`` of the same shape."""
        others = z.shape[2] - grid[0] * grid[1]
        moved = as_tokens(_conv(self.position, as_maps(z, grid)))
        z = torch.cat([z[:, :, :others], z[:, :, others:] + moved], dim=2)
        spatial = z + self.spatial(self.norm_spatial(z), grid)
        temporal = z + self.temporal(self.norm_temporal(z), grid)
        return F.gelu((spatial + temporal) / 2)


class D2STPart(Pathways):
    """What :class:`D2STAdapter` adds to one block."""

    def __init__(self, width: int, hidden: int, groups: int, grid: tuple[int, int]) -> None:
        super().__init__(width, hidden, groups, SPATIAL, TEMPORAL)
        self.grid = grid

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`."""
        x = block(x)
        z = F.gelu(self.down(x)).unflatten(0, (-1, clip.frames))  # (b t 1+p c)
        return x + F.gelu(self.up(self.mixed(z, self.grid).flatten(0, 1)))


class D2STResNetAdapter(StageAdapter):
    """The form for a ResNet, after each of its four stages; zero at first, so that the network is its own at first.

    As :class:`D2STAdapter`, but on maps, without a class token, without the GELU after ``W_d`` and after ``W_u``, with
    1, 2, 4 and 8 groups and with kernels that suit maps of 56, 28, 14 and 7 pixels (:data:`STAGES`).

    Args:
        ratio: channels of the bottleneck, as a part of the stage's.

    5,683,776 trained weights in a ResNet-50. Needs 4 frames, and 224 pixels or nearly.

    >>> from fsar.encoders import Adapted, ImageEncoder
    >>> encoder = Adapted(ImageEncoder("resnet18", None, image_size=32), D2STResNetAdapter())
    >>> encoder.frozen, encoder.channels
    (False, 512)
    """

    def __init__(self, ratio: float = 0.25) -> None:
        self.ratio = ratio

    def stage_part(self, index: int, channels: int) -> Part:
        groups, spatial, temporal = STAGES[index]
        hidden = int(channels * self.ratio)
        if hidden % groups:
            raise ValueError(f"D2STResNetAdapter: {groups} groups must divide the {hidden} channels of the bottleneck.")
        return D2STStagePart(channels, hidden, groups, spatial, temporal)


class D2STStagePart(Pathways):
    """What :class:`D2STResNetAdapter` adds to one stage."""

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`; maps ``(b·t c h w)`` in and out."""
        maps = block(x)
        z = self.down(rearrange(maps, "(b t) c h w -> b t (h w) c", t=clip.frames))
        y = self.up(self.mixed(z, maps.shape[-2:]))
        return maps + rearrange(y, "b t (h w) c -> (b t) c h w", h=maps.shape[-2])


class DeformableAttention(nn.Module):
    """All tokens of a clip attend to a few points of it, whose places depend on the clip (section 3.3).

    Args:
        channels: of the tokens.
        groups: heads, each with points of its own.
        kernel: of the convolution over ``(t h w)`` that gives one point per step.
        stride: likewise.
    """

    def __init__(self, channels: int, groups: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.groups, self.kernel, self.stride = groups, kernel, stride
        each = channels // groups
        self.query, self.key, self.value = (Linear(channels, channels) for _ in range(3))
        self.out = Linear(channels, channels)
        self.offset_conv = nn.Conv3d(each, each, kernel, stride, groups=each)
        self.offset_norm = LayerNorm(each)
        self.offset = Linear(each, 3, bias=False)

    def forward(self, z: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(b t l c)``, the patches last, to the same.

        Raises:
            ValueError: clips shorter, or a grid smaller, than the kernel.
        """
        volume = (z.shape[1], *grid)
        if any(size < k for size, k in zip(volume, self.kernel, strict=True)):
            raise ValueError(
                f"D2ST-Adapter: the offset convolution needs {self.kernel} (frames, patches in height and width) at "
                f"least, the clips have {volume}. Use 4 frames and a grid of 7 x 7 patches or more in a ViT, images of "
                "224 pixels in a ResNet."
            )
        q = self.query(z)
        points = self.points(as_maps(q, grid))  # (b·g T H W 3)
        sampled = self.sample(as_maps(z, grid), points)  # (b l c)
        q, k, v = (
            rearrange(a, "b l (g c) -> b g l c", g=self.groups)
            for a in (q.flatten(1, 2), self.key(sampled), self.value(sampled))
        )
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "b g l c -> b l (g c)")
        out: Tensor = self.out(mixed)
        return out.unflatten(1, z.shape[1:3])

    def points(self, q: Tensor) -> Tensor:
        """Where to look: ``q (b c t h w)`` to ``(b·g T H W 3)`` in (t h w) order, -1..1 from end to end."""
        q = rearrange(q, "b (g c) t h w -> (b g) c t h w", g=self.groups)
        steps = _conv(self.offset_conv, q).movedim(1, -1)  # (b·g T H W c)
        shift = self.offset(F.gelu(self.offset_norm(steps))).tanh()
        size = steps.shape[1:4]
        centres = [(torch.arange(n, device=q.device) + 0.5) / n * 2 - 1 for n in size]
        reference = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1).to(q.dtype)
        reach = torch.tensor([min(1.0, 2 / n) for n in size], device=q.device, dtype=q.dtype)
        return reference + shift * reach

    def sample(self, maps: Tensor, points: Tensor) -> Tensor:
        """``maps (b c t h w)`` read at the points of each group: ``(b T·H·W c)``; zeros outside."""
        maps = rearrange(maps, "b (g c) t h w -> (b g) c t h w", g=self.groups)
        places = points.flip(-1).to(maps.dtype)  # grid_sample counts (x y z)
        read = F.grid_sample(maps.float(), places.float(), align_corners=True).to(maps.dtype)
        return rearrange(read, "(b g) c t h w -> b (t h w) (g c)", g=self.groups)


def as_maps(z: Tensor, grid: tuple[int, int]) -> Tensor:
    """The patches of ``(b t l c)``, which come last, as ``(b c t h w)``."""
    patches = z[:, :, z.shape[2] - grid[0] * grid[1] :]
    return rearrange(patches, "b t (h w) c -> b c t h w", h=grid[0], w=grid[1])


def as_tokens(maps: Tensor) -> Tensor:
    """``(b c t h w)`` as ``(b t p c)``."""
    return rearrange(maps, "b c t h w -> b t (h w) c")


def _conv(conv: nn.Conv3d, maps: Tensor) -> Tensor:
    """The convolution in the dtype of its input."""
    bias = None if conv.bias is None else conv.bias.to(maps.dtype)
    return F.conv3d(maps, conv.weight.to(maps.dtype), bias, conv.stride, conv.padding, conv.dilation, conv.groups)
