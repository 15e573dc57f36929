"""Where a tower looks in a frame: attention rollout of a ViT, or which patches are like the frame as a whole.

Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", https://arxiv.org/abs/2005.00928, eq. 1: with A_l
(n n) the mean over the heads of block l's attention, I for the residual, rows adding up to 1::

    R = Ã_L ... Ã_2 Ã_1,   Ã_l = (A_l + I) / 2

heat is the class token's row of R over the patches, and the mean of all rows in a tower without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from episodes.clips import Streams
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.blocks import blocks_of, has_blocks

ROLLOUT, ALIKE = "attention rollout", "patches that are like the frame as a whole"


@torch.no_grad()
def heat_of(encoder: FrameEncoder, frames: Tensor) -> tuple[str, Tensor] | None:
    """Where the encoder looks in each frame, and by what that is told.

    Args:
        encoder: one of frames, in evaluation mode.
        frames: ``(t c h w)``, as it takes them.

    Returns:
        What it is, and ``(t rows columns)``, the largest of each frame 1; None for an encoder without patches.
    """
    if "patches" not in encoder.gives:
        return None
    rows, columns = encoder.grid
    with recorded_attention(encoder.visual) as seen:
        patches = encoder.features(Streams(frames=frames), ("frames", "patches"))["patches"]
    heat, kind = roll_out([torch.cat(pieces).cpu() for pieces in seen if pieces], rows * columns, len(frames)), ROLLOUT
    if heat is None:
        heat, kind = torch.einsum("tpw,tw->tp", patches, patches.mean(1)).clamp(min=0).cpu(), ALIKE
    return kind, (heat / heat.amax(1, keepdim=True).clamp(min=1e-12)).unflatten(1, (rows, columns))


def roll_out(attention: list[Tensor], patches: int, frames: int) -> Tensor | None:
    """``(t p)`` of the attention ``(t n n)`` of every block; None where these are no whole frames, block by block."""
    shapes = {tuple(weights.shape) for weights in attention}
    if len(shapes) != 1 or attention[0].shape[0] != frames or attention[0].shape[1] < patches:
        return None
    count = attention[0].shape[1]
    rolled = torch.eye(count).expand(frames, -1, -1)
    for weights in attention:
        rolled = ((weights.float() + torch.eye(count)) / 2) @ rolled
    row = rolled[:, 0] if count > patches else rolled.mean(1)
    return row[:, count - patches :]


@contextmanager
def recorded_attention(visual: nn.Module) -> Iterator[list[list[Tensor]]]:
    """A list for every block that gets its attention ``(b n n)``, the mean over its heads, a piece for each chunk of
    frames that it sees; no list for a block whose attention is of another kind."""
    seen: list[list[Tensor]] = []

    def of_torch(
        found: list[Tensor], module: nn.MultiheadAttention, inputs: tuple[Tensor, ...], named: dict[str, Any]
    ) -> None:
        query, key = (inputs[i] if len(inputs) > i else named[name] for i, name in enumerate(("query", "key")))
        if module.batch_first and named.get("attn_mask") is None:
            found.append(nn.MultiheadAttention.forward(module, query, key, key, need_weights=True)[1])  # type: ignore[arg-type]

    def of_timm(found: list[Tensor], module: Any, inputs: tuple[Tensor, ...]) -> None:
        q, k, _ = module.qkv(inputs[0]).unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = module.q_norm(q) @ module.k_norm(k).mT * module.scale
        found.append(scores.softmax(-1).mean(1))

    with ExitStack() as hooks:
        for module in (each for block in (blocks_of(visual) if has_blocks(visual) else ()) for each in block.modules()):
            if isinstance(module, nn.MultiheadAttention):
                seen.append([])
                hooks.callback(module.register_forward_pre_hook(partial(of_torch, seen[-1]), with_kwargs=True).remove)
            elif type(module).__module__.startswith("timm.") and type(module).__name__ == "Attention":
                seen.append([])
                hooks.callback(module.register_forward_pre_hook(partial(of_timm, seen[-1])).remove)
        yield seen
