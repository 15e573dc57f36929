"""MoLo's motion branch: differences of neighbouring feature maps, and a decoder of them to differences of frames.

Wang et al. 2023, "MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action Recognition",
https://arxiv.org/abs/2304.00946, section 3.3, in the form of the released code
(https://github.com/alibaba-mmai-research/MoLo).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

REDUCTION = 8
"""Channels of a map to one channel of its motion."""


class MotionBranch(nn.Module):
    """``M_i = Conv2d(G_i+1) - G_i`` with ``G = Conv3d(F)`` of 1/8 of the channels, for i = 0..t-2.

    Maps may be of any size, clips of any length from two frames.

    Args:
        channels: ``d`` of the maps, a multiple of 8.

    Raises:
        ValueError: for channels that 8 does not divide.

    Examples:
        >>> branch = MotionBranch(channels=16)
        >>> motion = branch(torch.rand(3, 8, 16, 7, 7))
        >>> motion.shape, branch.tokens(motion).shape
        (torch.Size([3, 7, 2, 7, 7]), torch.Size([3, 7, 16]))
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % REDUCTION:
            raise ValueError(f"MotionBranch: channels must be a multiple of {REDUCTION}, found {channels}.")
        narrow = channels // REDUCTION
        self.reduce = nn.Conv3d(channels, narrow, 3, padding=1)
        self.shift = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.widen = nn.Conv2d(narrow, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """``(... t d h w)`` to motion ``(... t-1 d/8 h w)``.

        Raises:
            ValueError: for clips of one frame.
        """
        t = maps.shape[-4]
        if t < 2:
            raise ValueError(f"MoLo: motion is between two frames, but the clips have {t}: give data.frames 2 or more.")
        clips = maps.flatten(0, -5) if maps.dim() > 5 else maps.reshape(-1, *maps.shape[-4:])
        reduced = self.reduce(clips.transpose(1, 2)).transpose(1, 2)  # (b t d/8 h w)
        shifted = self.shift(reduced[:, 1:].flatten(0, 1)).unflatten(0, (-1, t - 1))
        return (shifted - reduced[:, :-1]).reshape(*maps.shape[:-4], t - 1, *reduced.shape[-3:])

    def tokens(self, motion: Tensor) -> Tensor:
        """One token a pair of frames: ``(... t-1 d/8 h w)`` to ``(... t-1 d)``."""
        wide = self.widen(motion.flatten(0, -4)).relu().mean((-2, -1))
        return wide.unflatten(0, motion.shape[:-3])


class MotionDecoder(nn.Module):
    """Motion to differences of frames, larger than the maps by the product of the factors.

    Three times bilinear enlargement (align_corners), convolution, BatchNorm and ReLU; then a convolution of kernel 1 to
    three colours.

    The statistics of BatchNorm are those of everything that is decoded at once.

    Args:
        channels: of the motion, ``d / 8``.
        factors: of the three enlargements, see :func:`enlargements`.
        widths: channels of the three steps.

    Examples:
        >>> MotionDecoder(channels=2)(torch.rand(3, 7, 2, 2, 2)).shape
        torch.Size([3, 7, 3, 64, 64])
    """

    def __init__(
        self,
        channels: int,
        factors: tuple[int, int, int] = (2, 4, 4),
        widths: tuple[int, int, int] = (128, 32, 16),
    ) -> None:
        super().__init__()
        steps = zip(factors, (channels, *widths), widths, strict=False)
        self.up = nn.ModuleList(Enlarge(*step) for step in steps)
        self.to_colours = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, motion: Tensor) -> Tensor:
        """``(... t-1 c h w)`` to ``(... t-1 3 H W)``, of 32h and 32w with the factors of the release."""
        x = motion.flatten(0, -4)
        for step in self.up:
            x = step(x)
        return self.to_colours(x).unflatten(0, motion.shape[:-3])


def enlargements(frame: int, grid: int) -> tuple[int, int, int]:
    """Factors that make frames of a grid: the released 2, 4, 4 for a ResNet's 32 pixels a place, smaller ones for the
    16 or 8 pixels of a ViT's patch."""
    return {16: (2, 2, 4), 8: (2, 2, 2)}.get(frame // grid, (2, 4, 4))


class Enlarge(nn.Module):
    """One step of :class:`MotionDecoder`."""

    def __init__(self, factor: int, channels: int, width: int) -> None:
        super().__init__()
        self.factor = factor
        self.convolution = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(b c h w)`` to ``(b width factor·h factor·w)``."""
        larger = interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=True)
        out: Tensor = self.convolution(larger)
        return out


def frame_differences(frames: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """``x_i+1 - x_i`` of normalised frames ``(... t c h w)``, ``(... t-1 c *size)``.

    Args:
        frames: as the network gets them.
        size: height and width to bring the differences to where they are others, bilinearly.
    """
    differences = frames[..., 1:, :, :, :] - frames[..., :-1, :, :, :]
    if size is None or differences.shape[-2:] == torch.Size(size):
        return differences
    flat = interpolate(differences.flatten(0, -4), size, mode="bilinear", align_corners=False, antialias=True)
    return flat.unflatten(0, differences.shape[:-3])
