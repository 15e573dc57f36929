"""How frames pass a tower: such as it takes, in chunks, and in the precision of its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
Encode = Callable[[Tensor], Tensors]

PIXELS = 8 * 224 * 224
"""That pass together on a CPU."""


def encode_in_chunks(
    encode: Encode, frames: Tensor, visual: nn.Module, needs_graph: bool, size: int | None = None
) -> Tensors:
    """``encode`` of frames ``(b *)``, with a graph in one piece, without one in chunks.

    Autocast is left to a tower of float32 weights that is not on a CPU: there it converts every weight on every call.

    Args:
        encode: ``(b *)`` to named ``(b *)``.
        frames: what passes the tower.
        visual: the tower, for the precision of its weights.
        needs_graph: whether gradients are to flow.
        size: frames of a chunk; by default as :func:`usual_chunk` says.
    """
    device = frames.device.type
    weight = next(visual.parameters(), None)
    plain = device == "cpu" or (weight is not None and weight.dtype == torch.bfloat16)
    autocast = torch.is_autocast_enabled(device) and not plain
    with torch.set_grad_enabled(needs_graph), torch.autocast(device, enabled=autocast):
        chunks = [frames] if needs_graph else frames.split(size or usual_chunk(frames))
        parts = [encode(chunk) for chunk in chunks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def usual_chunk(frames: Tensor) -> int:
    """Frames that pass together: 256 beside a CPU; on one 16, and of larger pixels ``(b c h w)`` fewer, so that what
    lies between two layers stays near the processor.

    Milliseconds a frame on one core, chunks of 4 / 8 / 16: SqueezeNet at 227 pixels 32 / 38 / 42, EfficientNet-Lite0 24
    / 26 / 40, ResNet-50 88 / 93 / 115, ViT-B/16 287 / 273 / 297; the toy CLIP at 64 pixels 0.97 / 0.79 / 0.69.

    >>> usual_chunk(torch.empty(1, 3, 64, 64)), usual_chunk(torch.empty(1, 3, 224, 224))
    (16, 8)
    """
    if frames.device.type != "cpu":
        return 256
    return max(1, min(16, PIXELS // (frames.shape[-2] * frames.shape[-1]))) if frames.dim() == 4 else 16


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
