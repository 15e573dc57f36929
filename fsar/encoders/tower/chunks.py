"""How frames pass a tower: in chunks and in the precision of its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
Encode = Callable[[Tensor], Tensors]


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
        size: frames of a chunk; by default 16 on a CPU, 256 elsewhere.
    """
    device = frames.device.type
    weight = next(visual.parameters(), None)
    plain = device == "cpu" or (weight is not None and weight.dtype == torch.bfloat16)
    autocast = torch.is_autocast_enabled(device) and not plain
    with torch.set_grad_enabled(needs_graph), torch.autocast(device, enabled=autocast):
        chunks = [frames] if needs_graph else frames.split(size or (16 if device == "cpu" else 256))
        parts = [encode(chunk) for chunk in chunks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


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
