"""The two halves of an open_clip ViT: the lower is frozen, so that its tokens can be kept; the upper is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_BEFORE = ("conv1.", "class_embedding", "positional_embedding", "ln_pre.")  # the blocks of an open_clip ViT
_AFTER = ("ln_post.", "proj", "frame_positions.")  # the last enter at an adapted block, see fsar.encoders
_BLOCK = "transformer.resblocks."


def first_trained(visual: nn.Module) -> int:
    """Number of the first trained block of an open_clip ViT, from which on it must be computed in every step.

    0 when there is no frozen half to speak of: nothing is trained; or something in the first block, before it, or at a
    place we do not know is; or the tower is none of open_clip's ViTs.
    """
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
        return 0
    trained = [name for name, parameter in visual.named_parameters() if parameter.requires_grad]
    if not trained or not all(name.startswith((_BLOCK, *_AFTER)) for name in trained):
        return 0
    count = len(visual.transformer.resblocks)
    return min([int(name.split(".")[2]) for name in trained if name.startswith(_BLOCK)], default=count)


def lower_half(visual: Any, frames: Tensor, layers: Sequence[int]) -> dict[str, Tensor]:
    """Tokens of some layers of an open_clip ViT, ``(b c h w)`` to ``layer i (b p w)``.

    Nothing above the last of them is computed. 0 is what enters the first block, ``i`` what block ``i`` (from 1) gives.
    """
    x = visual._embeds(frames)
    found = {"layer 0": x}
    for number, block in enumerate(visual.transformer.resblocks[: max(layers)], 1):
        x = block(x)
        if number in layers:
            found[f"layer {number}"] = x
    return {f"layer {layer}": found[f"layer {layer}"] for layer in layers}


def upper_half(visual: Any, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Features ``(b d)`` from the tokens ``(b p w)`` that enter block ``first`` of an open_clip ViT, counted from 0;
    and the tokens that the last block gives."""
    for block in visual.transformer.resblocks[first:]:
        again = visual.transformer.grad_checkpointing and torch.is_grad_enabled()
        x = checkpoint(block, x, use_reentrant=False) if again else block(x)
    pooled, _ = visual._pool(x)
    features: Tensor = pooled if visual.proj is None else pooled @ visual.proj
    return features, x


def lower_weights(visual: nn.Module, last: int) -> Iterator[tuple[str, Tensor]]:
    """What decides the tokens of layer ``last`` of an open_clip ViT, by the names of the tower without adapters."""
    for name, tensor in visual.state_dict().items():
        if name.startswith(_BEFORE):
            yield name, tensor
        elif name.startswith(_BLOCK) and int(name.split(".")[2]) < last:
            yield name.replace(".block.", ".", 1), tensor
