"""Where a tower looks in a frame: attention rollout of a ViT, or which patches are like the frame as a whole; and what
in the frames of a clip speaks for a class: Grad-CAM.

Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", https://arxiv.org/abs/2005.00928, eq. 1: with A_l
(n n) the mean over the heads of block l's attention, I for the residual, rows adding up to 1::

    R = Ã_L ... Ã_2 Ã_1,   Ã_l = (A_l + I) / 2

heat is the class token's row of R over the patches, and the mean of all rows in a tower without one.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
https://arxiv.org/abs/1610.02391, eq. 1 and 2: with A (t p k) the last map of the frames and y the logit of a class::

    heat_tp = max(0, sum_k α_tk A_tpk),   α_tk = mean_p ∂y / ∂A_tpk

The frames of a clip share y, so that one which says nothing for the class stays cold. Of the last block of a ViT often
the class token alone is read; there A is what enters that block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from episodes.clips import Streams
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.blocks import blocks_of, has_blocks, record_states
from fsar.encoders.tower.precision import Int8Linear
from fsar.encoders.tower.seen import has_patches, last_of, patches_of

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


@torch.enable_grad()
def class_heat(encoder: FrameEncoder, frames: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Grad-CAM of one clip: which places of its frames speak for a class.

    Args:
        encoder: one of frames, in evaluation mode.
        frames: ``(t c h w)``, as it takes them.
        read: frames ``(t c h w)`` in 0..1, through the encoder, to the logit of the class, a number.

    Returns:
        ``(t rows columns)``, the largest of the clip 1, all 0 where nothing speaks for the class; None for an encoder
        that sees no frame for itself or has no patches, and where the logit has no gradient by them.
    """
    visual = encoder.visual
    if not has_patches(visual) or any(isinstance(module, Int8Linear) for module in visual.modules()):
        return None
    pixels = frames / 255 if frames.dtype == torch.uint8 else frames.detach().clone()
    pixels.requires_grad_()  # else there is no graph
    with ExitStack() as hooks:
        last = hooks.enter_context(last_of(visual))
        states = hooks.enter_context(record_states(blocks_of(visual))) if has_blocks(visual) else []
        logit = read(pixels)
    if not logit.requires_grad or len(last) != 1 or not isinstance(last[0], Tensor) or len(last[0]) != len(frames):
        return None
    place, tokens, (rows, columns) = last[0], last[0].dim() == 3, encoder.grid
    if tokens and len(states) > 1 and isinstance(states[-2], Tensor) and states[-2].shape == place.shape:
        place = states[-2]
    (slope,) = torch.autograd.grad(logit, [place], allow_unused=True)
    if slope is None:
        return None
    seen, slope = ((x[:, -rows * columns :] if tokens else patches_of(visual, x)).detach() for x in (place, slope))
    heat = weigh(seen.float(), slope.float()).cpu()
    return (heat / (heat.max() if heat.any() else 1)).unflatten(1, (rows, columns))


def weigh(seen: Tensor, slope: Tensor) -> Tensor:
    """Heat ``(t p)`` of a map ``(t p k)`` and of the slope of a logit by it.

    >>> weigh(torch.tensor([[[1.0, 2.0], [3.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [2.0, -3.0]]]))
    tensor([[0., 3.]])
    """
    return torch.einsum("tpk,tk->tp", seen, slope.mean(1)).clamp(min=0)


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
