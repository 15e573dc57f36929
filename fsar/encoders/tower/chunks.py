"""How frames pass a tower: in chunks and in the precision of its weights."""

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


def hold_in_bf16(visual: nn.Module, tune: str | int) -> None:
    """Weights of a frozen tower in bfloat16; the statistics of batches stay as they are.

    Raises:
        ValueError: the weights are to be trained.
    """
    if tune != "frozen":
        raise ValueError(
            f"precision='bf16' holds the weights in 8 bits of mantissa, too coarse for tune={tune!r} to step in. "
            f"Train with precision='fp32' (and trainer.precision=bf16-mixed on a GPU)."
        )
    visual.to(torch.bfloat16)
    for module in visual.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.float()
