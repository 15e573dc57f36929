"""What an adapter does to a tower: parts at the blocks' places, changes laid upon weights, weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from open_clip.timm_model import TimmModel
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from fsar.adapters.base import Adapter, Clip, Part, StageAdapter, Tower
from fsar.adapters.lora import LoRA
from fsar.encoders.tower.blocks import blocks_of
from fsar.encoders.tower.plain import Vit, explain_not_plain, find_vit, in_common_words

if TYPE_CHECKING:
    from fsar.encoders.frame import FrameEncoder


class Context:
    """What the blocks of an adapted tower must know of the clips that pass through it now."""

    def __init__(self, checkpointing: bool) -> None:
        self.clip: Clip | None = None
        self.checkpointing = checkpointing

    @contextmanager
    def of(self, clip: Clip) -> Iterator[None]:
        """Sets the clips for one pass, whatever becomes of it."""
        self.clip = clip
        try:
            yield
        finally:
            self.clip = None

    def now(self) -> Clip:
        """The clips that pass now.

        Raises:
            RuntimeError: outside the encoder.
        """
        if self.clip is None:
            raise RuntimeError("an adapted tower sees whole clips: call the encoder, not its visual tower.")
        return self.clip


class AdaptedBlock(nn.Module):
    """A block of the tower with what an adapter adds to it; stands at the block's place.

    With ``checkpointing`` the activations inside are computed again in the backward pass. What the part is told of
    the clips is handed over with them, since the context is another by then.
    """

    def __init__(self, block: nn.Module, adapter: Part | None, context: Context) -> None:
        super().__init__()
        self.block = block
        self.adapter = adapter
        self.context = context

    def forward(self, x: Tensor, *masks: None, rope: Tensor | None = None, **others: object) -> Tensor:
        """``(b·t l D)`` to the same; ``rope`` is the rotary embedding of EVA's kin, what else open_clip and timm
        hand over stays None or false."""
        clip = self.context.now()
        if self.context.checkpointing and torch.is_grad_enabled() and self.learns(x):
            again: Tensor = checkpoint(self.run, x, clip, rope, use_reentrant=False)
            return again
        return self.run(x, clip, rope)

    def run(self, x: Tensor, clip: Clip, rope: Tensor | None = None) -> Tensor:
        """The block; without a graph where nothing before or in it is trained."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns(x)):
            block = in_common_words(self.block, rope)
            out: Tensor = block(x) if self.adapter is None else self.adapter(block, x, clip)
            return out

    def learns(self, x: Tensor) -> bool:
        """Whether a gradient is wanted of this block or of what came before it."""
        return x.requires_grad or any(weight.requires_grad for weight in self.parameters())


def adapt_blocks(encoder: FrameEncoder, adapter: Adapter, last: int | None, context: Context) -> tuple[Vit, int, int]:
    """Puts an adapter's parts into the last blocks of a ViT; gives it, the first of them and the tokens' channels."""
    vit, tower = vit_of(encoder, type(adapter).__name__)
    if not tower.class_token and (adapter.needs_class_token or "class_embedding" in adapter.trained):
        raise ValueError(
            f"{type(adapter).__name__} works on the class token of every frame, and {encoder.identity} has none: use a "
            "tower with one (ViT-B-16, a DINO), or another adapter."
        )
    first = first_of(last, tower.layers)
    context.checkpointing |= vit.checkpointing
    if vit.checkpointing:
        vit.body.set_grad_checkpointing(False)  # AdaptedBlock does it, with the clips at hand
    for index, block in enumerate(vit.blocks):
        part = adapter.part(index, tower) if index >= first else None
        vit.blocks[index] = AdaptedBlock(block, part, context)
    return vit, first, tower.width


def change_weights(encoder: FrameEncoder, adapter: LoRA, last: int | None) -> int:
    """Lays low-rank changes upon the weights of any network, or of its last blocks; gives the first of these.

    Raises:
        ValueError: for a network that has an adapter.
    """
    if any(isinstance(module, AdaptedBlock) or is_parametrized(module) for module in encoder.visual.modules()):
        raise ValueError(f"LoRA needs a network that has no adapter yet, found {encoder.identity}.")
    if last is None:
        adapter.change(encoder.visual, encoder.identity)
        return 0
    blocks = blocks_of(encoder.visual)
    first = first_of(last, len(blocks))
    adapter.change(nn.ModuleList(list(blocks)[first:]), encoder.identity)
    return first


def first_of(last: int | None, count: int) -> int:
    """Number of the first of the ``last`` blocks of ``count``; of all without.

    Raises:
        ValueError: the tower has fewer.
    """
    if last is not None and not 1 <= last <= count:
        raise ValueError(f"Adapted: last={last}, but the tower has {count} blocks; leave it out for all.")
    return 0 if last is None else count - last


def drop_projection(visual: Any) -> None:
    """Takes the projection into the space of the text off a ViT."""
    if isinstance(visual, TimmModel):
        visual.head, visual.trunk.head = nn.Identity(), nn.Identity()
    else:
        visual.proj = None


def adapt_stages(encoder: FrameEncoder, adapter: StageAdapter, context: Context) -> None:
    """Puts an adapter's parts after the four stages of a ResNet, of torchvision, timm or open_clip."""
    visual: Any = encoder.visual
    for index, name in enumerate(("layer1", "layer2", "layer3", "layer4")):
        norms = [m for m in getattr(visual, name, nn.Module()).modules() if isinstance(m, nn.BatchNorm2d)]
        if not norms or isinstance(getattr(visual, name), AdaptedBlock):
            raise ValueError(
                f"{type(adapter).__name__} needs a ResNet (resnet18, resnet50, RN50...) that has no adapter yet, found "
                f"{encoder.identity}."
            )
        part = adapter.stage_part(index, norms[-1].num_features)
        setattr(visual, name, AdaptedBlock(getattr(visual, name), part, context))


def vit_of(encoder: FrameEncoder, wanted_by: str, timm: bool = True) -> tuple[Vit, Tower]:
    """The encoder's tower and its shape.

    Args:
        encoder: whose tower it is.
        wanted_by: for the message.
        timm: whether one of timm will do.

    Raises:
        ValueError: when it is no ViT of plain blocks, or adapted already.
    """
    reason, vit = explain_not_plain(encoder.visual), find_vit(encoder.visual)
    if reason or vit is None or (vit.timm and not timm):
        where = "of open_clip or timm (ViT-B-16, PE-Core-B-16, a DINO...)" if timm else "of open_clip (ViT-B-16...)"
        raise ValueError(
            f"{wanted_by} needs a ViT of plain blocks {where} that has no adapter yet, found {encoder.identity}"
            f"{f': {reason}' if reason else ''}."
        )
    first = vit.blocks[0]
    layers = [m for m in first.mlp.modules() if isinstance(m, nn.Linear)]
    tower = Tower(
        width=first.attn.proj.out_features if vit.timm else first.attn.embed_dim,
        heads=first.attn.num_heads,
        layers=len(vit.blocks),
        hidden=layers[0].out_features,
        grid=vit.body.patch_embed.grid_size if vit.timm else vit.body.grid_size,
        channels=encoder.channels,
        prefix=vit.prefix,
        class_token=vit.class_token,
    )
    return vit, tower


def unfreeze(visual: nn.Module, names: Sequence[str], adapter: str) -> None:
    """Trains these weights of the tower, of those that there are."""
    for name in names:
        weight = visual.get_parameter(name)
        if weight.dtype == torch.bfloat16:
            raise ValueError(
                f"{adapter} trains the tower's {name}, which precision='bf16' holds too coarsely to "
                "step in: use precision='fp32', or tell the adapter not to train it (tune_norm or tune_ends: false)."
            )
        weight.requires_grad_(True)
