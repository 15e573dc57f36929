"""What an adapter and a side network are, and the few pieces that several papers share.

An adapter is a recipe: handed the shape of a ViT it makes one small module per block. That module is handed the frozen
block and the tokens of the clips, and gives the tokens that the next block gets; it never writes CLIP again. A side
network reads what the blocks of a frozen tower gave and sends nothing back. :mod:`fsar.encoders` and
:mod:`fsar.encoders` join them with an encoder.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Block = Any
"""A plain block of a ViT: ``ln_1``, ``attention(q_x, attn_mask)``, ``ls_1``, ``ln_2``, ``mlp``, ``ls_2`` as in
open_clip; one of timm stands behind the same names and has ``unplaced``, see fsar.encoders."""


class Clip(NamedTuple):
    """What an adapter is told of the clips whose tokens it sees."""

    frames: int  # t
    text: Tensor | None = None  # (b d) the class text of each clip, where the method hands it over


class Tower(NamedTuple):
    """The shape of a ViT.

    >>> Tower(width=768, heads=12, layers=12, hidden=3072, grid=(14, 14), channels=512).grid  # of ViT-B/16
    (14, 14)
    """

    width: int  # D, channels of a token
    heads: int
    layers: int
    hidden: int  # channels inside a block's feed-forward part
    grid: tuple[int, int]  # patches in height and width
    channels: int  # d, of the projected frame features and of the text features
    prefix: int = 1  # tokens before the patches: the class token first, then registers
    class_token: bool = True


class Part(nn.Module):
    """What an adapter adds to one block."""

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """The adapted block.

        Args:
            block: the tower's own block; its weights are not the part's.
            x: ``(b·t l D)``, class token and registers first, the frames of a clip side by side.
            clip: how many frames a clip has, and its class text.

        Returns:
            ``(b·t 1+p D)``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(block, x, clip).")


class Adapter:
    """A recipe for the parts of every block; everything in the parts is trained."""

    needs_class_token: bool = False
    """True when it does something with a frame's class token that no other token can stand for."""

    reads_text: bool = False
    """True when a support clip's features depend on the text of its class."""

    trained: tuple[str, ...] = ()
    """Names of the tower's own parameters that are trained as well."""

    frames: int | None = None
    """``t`` when the adapter learns one embedding per frame, which is added to the tokens before the first block."""

    frames_first: bool = False
    """True when the frame embeddings are added before the tower's first norm, however few blocks are adapted."""

    across_clips: bool = False
    """True when the clips of one call see each other: they are never split, and none can be encoded by itself."""

    def part(self, index: int, tower: Tower) -> Part:
        """The part of block ``index``, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} must define part(index, tower).")


class StageAdapter(Adapter):
    """A recipe for the parts of a ResNet's four stages: the block that a part is handed is a stage, ``x`` its maps."""

    def stage_part(self, index: int, channels: int) -> Part:
        """The part of stage ``index``, counted from 0, whose maps have so many channels."""
        raise NotImplementedError(f"{type(self).__name__} must define stage_part(index, channels).")


class SideNetwork(nn.Module):
    """A network beside a frozen tower; ``layers`` are the states it reads, as in ``FrameEncoder.features``."""

    layers: tuple[int, ...]
    channels: int

    gives: tuple[str, ...] = ("frames",)
    """Names of what :meth:`features` gives, all of ``channels`` channels."""

    frames: int | None = None
    """``t`` when the network was made for one number of frames."""

    per_frame: bool = True
    """False for one vector a clip."""

    def forward(self, states: tuple[Tensor, ...], blocks: nn.ModuleList | nn.Sequential) -> Tensor:
        """Frame features of clips.

        Args:
            states: one ``(b t 1+p D)`` per entry of ``layers``.
            blocks: the tower's blocks, for what else can be computed from a state.

        Returns:
            ``(b t d)``, ``d`` being ``channels``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(states, blocks).")

    def features(self, states: tuple[Tensor, ...], blocks: nn.ModuleList | nn.Sequential) -> dict[str, Tensor]:
        """``frames (b t d)``, as :meth:`forward` gives them, and whatever else is in :attr:`gives`."""
        return {"frames": self(states, blocks)}


class Side:
    """A recipe for a side network."""

    def network(self, tower: Tower, blocks: nn.ModuleList | nn.Sequential) -> SideNetwork:
        """The network for a tower of this shape; ``blocks`` may give its first values."""
        raise NotImplementedError(f"{type(self).__name__} must define network(tower, blocks).")


class FramePositions(nn.Module):
    """One learned embedding per frame, zero at first, added to all tokens of the frame.

    Args:
        frames: ``t``.
        width: ``D``.
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(frames, width))

    def forward(self, x: Tensor, clip: Clip) -> Tensor:
        """``(b·t l D)`` to the same.

        Raises:
            ValueError: clips of another number of frames than the embeddings were made for.
        """
        if clip.frames != len(self.weight):
            raise ValueError(
                f"the adapter learns {len(self.weight)} frame embeddings, but the clips have {clip.frames} frames: "
                f"give the adapter frames={clip.frames} (0 for none), or set data.frames to {len(self.weight)}."
            )
        return x + self.weight.to(x.dtype).repeat(len(x) // clip.frames, 1).unsqueeze(1)


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input and keeps float32 weights to step in."""

    def forward(self, x: Tensor) -> Tensor:
        """``(... i)`` to ``(... o)``."""
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class LayerNorm(nn.LayerNorm):
    """A layer norm in float32, whatever comes in; the result has the input's dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """``(... d)`` to the same."""
        return super().forward(x.float()).to(x.dtype)


class Bottleneck(nn.Module):
    """``A(z) = W_up GELU(W_down z + b) + b'``, with ``W_up`` and ``b'`` zero at first (AIM, section 3.2).

    Args:
        width: channels in and out.
        hidden: channels between.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down, self.up = Linear(width, hidden), Linear(hidden, width)
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, z: Tensor) -> Tensor:
        """``(... D)`` to the same."""
        up: Tensor = self.up(F.gelu(self.down(z)))
        return up


def attend(block: Block, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The block's own ``MSA(LN1(x))`` of ``(b l D)``; ``bias (l l)`` is added to the attention logits."""
    attended: Tensor = block.ls_1(block.attention(q_x=block.ln_1(x), attn_mask=bias))
    return attended


def unplaced(block: Block) -> Block:
    """The block for sequences over frames or clips, to which the places that a tower gives its patches mean nothing."""
    return getattr(block, "unplaced", block)


def attend_across(block: Block, x: Tensor) -> Tensor:
    """The block's own ``MSA(LN1(x))`` of sequences over frames or clips."""
    return attend(unplaced(block), x)


def feed(block: Block, x: Tensor) -> Tensor:
    """The block's own ``MLP(LN2(x))``."""
    fed: Tensor = block.ls_2(block.mlp(block.ln_2(x)))
    return fed
