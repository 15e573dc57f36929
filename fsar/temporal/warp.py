"""TA2N's first stage: every clip is stretched and shifted in time by two numbers of its own.

Li et al., "TA2N: Two-Stage Action Alignment Network for Few-Shot Action Recognition",
https://arxiv.org/abs/2107.04782, section 3.2, in the form of the released code, https://github.com/R00Kie-Liu/TA2N.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def as_volume(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches ``(... t p d)`` of clips, row by row, as ``(b d t h w)`` for a convolution."""
    return patches.flatten(0, -4).unflatten(-2, grid).movedim(-1, 1)


def warp_weights(theta: Tensor, frames: int) -> Tensor:
    """What every warped frame takes of every frame: ``(... 2)`` to ``(... t t)``.

    Frame x is read at ``a·x + b`` on a clip that reaches from -1 to 1, linearly between two frames; there is nothing
    outside of it, so that a frame partly outside fades.
    """
    a, b = theta.unsqueeze(-1).unbind(-2)
    places = a * torch.linspace(-1, 1, frames, device=theta.device, dtype=theta.dtype) + b
    places = (places + 1) / 2 * (frames - 1)
    before = places.detach().floor()
    share = (places - before).unsqueeze(-1)
    number = torch.arange(frames, device=theta.device)
    first, second = (before.unsqueeze(-1) == number - i for i in (0, 1))
    return first * (1 - share) + second * share


class TemporalWarp(nn.Module):
    """``x(a t + b)`` with ``(a, b) = tanh(localiser(x))``: patches ``(... t p d)`` to the same.

    The localiser: convolutions over time and space d → 64 → 128 with batch norms, poolings and ReLUs; the largest of
    every channel; 128 → 32 → 2. It begins at a = tanh 2 = 0.96, b = 0 for every clip, as released: as a and b stay
    within ±1, the stretch that is read is always shorter than the clip, and the identity is never reached.

    Args:
        channels: d.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv3d(channels, 64, 3, padding=1),
            nn.BatchNorm3d(64),
            nn.MaxPool3d(2),
            nn.ReLU(),
            nn.Conv3d(64, 128, 3, padding=1),
            nn.BatchNorm3d(128),
            nn.MaxPool3d(2),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 2))
        last = self.head[2]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([2.0, 0.0]))

    def theta(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(a, b)`` of every clip: ``(... t p d)`` to ``(... 2)``.

        Raises:
            ValueError: clips that are too short to be pooled twice.
        """
        if patches.shape[-3] < 4:
            raise ValueError(
                f"TA2N pools time twice by two and needs clips of 4 frames or more, found {patches.shape[-3]}: set "
                "data.frames to 8, as in the paper."
            )
        largest = self.convolutions(as_volume(patches, grid)).amax((-3, -2, -1))
        theta: Tensor = self.head(largest).tanh()
        return theta.unflatten(0, patches.shape[:-3])

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(... t p d) -> (... t p d)``."""
        weights = warp_weights(self.theta(patches, grid), patches.shape[-3])
        return (weights.to(patches.dtype) @ patches.flatten(-2)).unflatten(-1, patches.shape[-2:])
