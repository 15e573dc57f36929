"""What an adapter or a side network costs: trained weights and operations, for the model summary."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fsar.adapters.base import Clip
from fsar.encoders.beside import Beside
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.adapting import AdaptedBlock, Context
from fsar.encoders.video.network import VideoNetwork


class EncoderCost(NamedTuple):
    """What an adapter adds; operations of one frame's forward pass, a multiplication and an addition counted as two."""

    trained: int
    tower: int
    added: int

    def __str__(self) -> str:
        share = self.added / self.tower
        return (
            f"{self.trained:,} trained weights, {self.added / 1e9:.2f} GFLOP a frame added ({share:+.0%} of the tower)"
        )


def added_cost(encoder: FrameEncoder, frames: int = 8) -> EncoderCost:
    """Counts the weights that an encoder trains and the operations that its adapter or side network adds to its tower.

    Nothing is computed: the operations are counted on shapes. A class text, when an adapter reads it, is left out.

    Args:
        encoder: with a ViT of open_clip, as it is, adapted, or with a network beside it; or an adapted ResNet; or a
            network of whole clips.
        frames: ``t`` of the clip that is counted, where the encoder was not made for one number and takes any.
    """
    frames = (encoder.side.frames if isinstance(encoder, Beside) else None) or frames
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    visual: Any = copy.deepcopy(encoder.visual).to("meta").requires_grad_(True)
    pixels = torch.empty(frames, 3, encoder.image_size, encoder.image_size, device="meta")
    if isinstance(visual, VideoNetwork):
        pixels = visual.own_input(encoder.image_size).to("meta")
        frames = pixels.shape[1]
    visual.float()  # as the frames are; the count is that of any precision
    context, adapted = Context(False), [m for m in visual.modules() if isinstance(m, AdaptedBlock)]
    for block in adapted:
        block.context = context
    for module in visual.modules():
        module._forward_pre_hooks.clear()  # frame embeddings, and the mean over the frames
    with context.of(Clip(frames)):
        whole = _operations(visual, pixels)
        for block in adapted:
            block.adapter = None
        tower = _operations(visual, pixels)
    if isinstance(encoder, Beside):
        side, first = copy.deepcopy(encoder.side).to("meta"), visual.transformer.resblocks[0]
        tokens = len(visual.positional_embedding)
        states = [torch.empty(1, frames, tokens, first.attn.embed_dim, device="meta") for _ in side.layers]
        whole += _operations(side, tuple(states), visual.transformer.resblocks)
    return EncoderCost(trained, tower // frames, (whole - tower) // frames)


def _operations(module: nn.Module, *inputs: object) -> int:
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops())
