"""Whether pixels are such as a tower takes."""

from __future__ import annotations

import torch
from torch import Tensor


def check_pixels(clips: Tensor, side: int, encoder: str) -> None:
    """Refuse clips ``(... t c h w)`` that are no ``side`` x ``side`` RGB frames, uint8 or floating point in 0..1.

    Raises:
        ValueError: frames of another size, number of channels, type or range.
    """
    if clips.dim() < 4 or clips.shape[-3] != 3:
        raise ValueError(f"Clips must be (... t c h w) with 3 colour channels, found shape {tuple(clips.shape)}.")
    if tuple(clips.shape[-2:]) != (side, side):
        raise ValueError(
            f"The clips have frames of {clips.shape[-2]} x {clips.shape[-1]} pixels (height x width), but the "
            f"encoder {encoder} takes {side} x {side}. Set data.size to {side}."
        )
    if clips.is_floating_point():
        low, high = (float(x) for x in clips.detach().aminmax())
        if low < -0.5 or high > 1.5:
            raise ValueError(
                f"Floating-point clips must lie in 0..1, found {low:.3g}..{high:.3g}. The encoder normalises the "
                f"frames itself: hand over uint8, or floats that are not normalised yet."
            )
    elif clips.dtype != torch.uint8:
        raise ValueError(f"Clips must be uint8 or floating point, found {clips.dtype}.")
