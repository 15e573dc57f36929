"""CLIP-CPM²C's motion: how a smoothed clip differs from its neighbours in time, forwards and backwards.

Guo et al. 2023, "Consistency Prototype Module and Motion Compensation for Few-Shot Action Recognition",
https://arxiv.org/abs/2312.01083, as CLIP-MEI and CLIP-SPM use it too. With y the clip after convolutions over time::

    m_i = ½ [ (y_i+1 - x_i) + (y_i - x_i+1) ],   i = 0..t-2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def frame_motion(frames: Tensor, smoothed: Tensor) -> Tensor:
    """Motion ``(... t-1 d)`` of frames x and smoothed frames y, both ``(... t d)``.

    Raises:
        ValueError: for clips of one frame.
    """
    if frames.shape[-2] < 2:
        raise ValueError(
            f"motion is between two frames, but the clips have {frames.shape[-2]}: give data.frames 2 or more."
        )
    forwards = smoothed[..., 1:, :] - frames[..., :-1, :]
    backwards = smoothed[..., :-1, :] - frames[..., 1:, :]
    return (forwards + backwards) / 2


class FrameMotion(nn.Module):
    """Motion of a clip after two convolutions of kernel 3 over time, without an activation between them.

    Args:
        channels: ``d``.

    Examples:
        >>> FrameMotion(16)(torch.rand(3, 8, 16)).shape
        torch.Size([3, 7, 16])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)

    def smooth(self, x: Tensor) -> Tensor:
        """``(b d t) -> (b d t)``."""
        smoothed: Tensor = self.second(self.first(x))
        return smoothed

    def forward(self, frames: Tensor) -> Tensor:
        """``(... t d) -> (... t-1 d)``."""
        clips = frames.reshape(-1, *frames.shape[-2:])
        return frame_motion(frames, self.smooth(clips.mT).mT.reshape(frames.shape))


class ScaledMotion(FrameMotion):
    """Motion after kernels of three scales beside each other, joined by one of 1 and added to the clip; of the copy of
    CLIP-CPM²C in CLIP-SPM's repository (https://github.com/hnlxy/CLIP-SPM)::

        y = x + r · W [conv_1 x; conv_3 x; conv_3, dilated by 2, x]

    Args:
        channels: ``d``.
        share: r.

    >>> ScaledMotion(channels=8).smooth(torch.zeros(2, 8, 4)).shape  # (b d t)
    torch.Size([2, 8, 4])
    """

    def __init__(self, channels: int, share: float = 0.5) -> None:
        nn.Module.__init__(self)
        self.scales = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=padding, dilation=max(padding, 1))
            for kernel, padding in ((1, 0), (3, 1), (3, 2))
        )
        self.join = nn.Conv1d(3 * channels, channels, 1)
        self.share = share

    def smooth(self, x: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat([scale(x) for scale in self.scales], dim=-2))
        return x + self.share * joined
