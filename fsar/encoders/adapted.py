"""An encoder joined with an adapter inside its tower; a frame encoder itself, that stands wherever one is expected."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fsar.adapters.base import Adapter, Clip, FramePositions, Part, StageAdapter, Tower
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.chunks import Tensors


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

    def forward(
        self, x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """``(b·t 1+p D)`` to the same; the other arguments are open_clip's and stay None."""
        clip = self.context.now()
        if self.context.checkpointing and torch.is_grad_enabled() and self.learns(x):
            again: Tensor = checkpoint(self.run, x, clip, use_reentrant=False)
            return again
        return self.run(x, clip)

    def run(self, x: Tensor, clip: Clip) -> Tensor:
        """The block; without a graph where nothing before or in it is trained."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns(x)):
            out: Tensor = self.block(x) if self.adapter is None else self.adapter(self.block, x, clip)
            return out

    def learns(self, x: Tensor) -> bool:
        """Whether a gradient is wanted of this block or of what came before it."""
        return x.requires_grad or any(weight.requires_grad for weight in self.parameters())


class Adapted(FrameEncoder):
    """A tower with an adapter inside: a CLIP ViT, or a ResNet. The clips' number of frames is read off their shape.

    Args:
        encoder: an open_clip ViT, such as ``fsar.encoders.ClipEncoder``, or for a ``StageAdapter`` a ResNet, such as
            ``fsar.encoders.ImageEncoder`` with "resnet50"; it is taken over, not copied.
        adapter: what to put into the blocks, or after the stages.
        last: adapt this many last blocks only; all when not given. The blocks below build no graph, and frame
            embeddings are added where the adapted ones begin. (An adapter that trains the tower's class embedding
            still needs the graph of all.)
        project: ``false`` drops CLIP's projection: the features are the normalised class token, of the tower's width,
            and the text tower goes with it, since it no longer shares their space.
        checkpointing: keep no activations inside the blocks and compute them again in the backward pass.
        output: "frames", features of every frame; "video", one vector a clip: the closing norm (and the projection) of
            the class token's mean over the frames, as ST-Adapter was released.

    Raises:
        ValueError: a tower that the adapter does not fit: an open_clip ViT of plain blocks with a class token, or a
            ResNet of four stages; an adapter that trains weights of the tower while they are held in bfloat16.

    >>> from fsar.adapters import AIM
    >>> from fsar.encoders import ClipEncoder
    >>> encoder = Adapted(ClipEncoder("fsar-tiny", "shapes"), AIM())
    >>> encoder(torch.zeros(2, 8, 3, 64, 64, dtype=torch.uint8)).shape, encoder.frozen
    (torch.Size([2, 8, 64]), False)
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        adapter: Adapter,
        last: int | None = None,
        project: bool = True,
        checkpointing: bool = False,
        output: Literal["frames", "video"] = "frames",
    ) -> None:
        context = Context(checkpointing)
        visual: Any = encoder.visual
        first, width = 0, encoder.channels
        if isinstance(adapter, StageAdapter):
            if last is not None or not project or output != "frames":
                raise ValueError(f"{type(adapter).__name__} stands in a ResNet: leave out last, project and output.")
            adapt_stages(encoder, adapter, context)
        else:
            first, width = adapt_blocks(encoder, adapter, last, context)
            if not project:
                visual.proj = None
        unfreeze(visual, adapter)
        super().__init__(
            visual,
            channels=encoder.channels if project else width,
            image_size=encoder.image_size,
            mean=encoder.mean,
            std=encoder.std,
            text=encoder.text if project else None,
            tune="full",  # what is trained was settled above and by the encoder
            frames_per_chunk=sys.maxsize,  # clips stay whole; see _split
            identity=f"{encoder.identity} + {type(adapter).__name__} {sorted(vars(adapter).items())}"
            + (", one vector a clip" if output == "video" else ""),
            framing=encoder.framing,
        )
        if adapter.frames:
            visual.frame_positions = FramePositions(adapter.frames, width)
            first = 0 if adapter.frames_first else first
            place = visual.transformer.resblocks[first] if first else visual.ln_pre
            place.register_forward_pre_hook(self._add_positions)
        if output == "video":
            visual.ln_post.register_forward_pre_hook(self._over_frames)
        self.output = output
        self.flipped = getattr(encoder, "channel_order", "rgb") == "bgr"
        self.first = first
        self.across_clips = adapter.across_clips
        self.lower_identity = encoder.lower_identity
        self.context = context
        self.reads_text = adapter.reads_text
        self.frames_at_once = encoder.frames_per_chunk

    def normalise(self, frames: Tensor) -> Tensor:
        """See :meth:`fsar.encoders.FrameEncoder.normalise`; in the order of colours that the encoder had."""
        return super().normalise(frames.flip(-3) if self.flipped else frames)

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """See :attr:`fsar.encoders.FrameEncoder.kept_layers`; an adapted block always belongs to the upper half, so
        what is kept, 0.30 MB a frame of ViT-B/16 in 16 bits, is the same for every adapter and every class text."""
        return tuple(min(layer, self.first) for layer in super().kept_layers) if self.first else ()

    @property
    def gives(self) -> tuple[str, ...]:
        """See :attr:`fsar.encoders.FrameEncoder.gives`; one vector a clip has no patches beside it."""
        return tuple(name for name in super().gives if name != "patches" or self.output == "frames")

    def steps(self, frames: int) -> int:
        return frames if self.output == "frames" else 1

    def _pass(
        self, encode: Callable[[Tensor], Tensors], clips: Tensor, axes: int, text: Tensor | None = None
    ) -> Tensors:
        """See :meth:`FrameEncoder._pass`; clips stay whole, and the blocks know whose frames they are."""
        pieces = []
        for piece, clip in self._split(clips, axes, text):
            with self.context.of(clip):
                pieces.append(super()._pass(encode, piece, axes))
        found = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        if self.output == "video" and "frames" in found:
            found["frames"] = found["frames"][:, :1]  # all frames have the clip's
        return {name: value.reshape(*clips.shape[: -axes - 1], *value.shape[1:]) for name, value in found.items()}

    def _split(self, clips: Tensor, axes: int, text: Tensor | None) -> list[tuple[Tensor, Clip]]:
        """Whole clips ``(b t *)``, all together when a graph is needed and few at a time when not."""
        t, flat = clips.shape[-axes - 1], clips.flatten(0, -axes - 2) if clips.dim() > axes + 1 else clips[None]
        words = None if text is None else text.reshape(len(flat), -1)
        graph = torch.is_grad_enabled() and (clips.requires_grad or not self.frozen)
        at_once = self.frames_at_once or (16 if clips.device.type == "cpu" else 256)
        size = len(flat) if graph or self.across_clips else max(1, at_once // t)
        return [
            (piece, Clip(t, None if words is None else words[i * size : (i + 1) * size]))
            for i, piece in enumerate(flat.split(max(1, size)))
        ]

    def _add_positions(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        positions: FramePositions = self.visual.frame_positions  # type: ignore[assignment]
        moved: Tensor = positions(inputs[0], self.context.now())
        return moved

    def _over_frames(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """What enters the closing norm, each frame's replaced by the mean over its clip."""
        frames = inputs[0].unflatten(0, (-1, self.context.now().frames))
        return frames.mean(1, keepdim=True).expand_as(frames).flatten(0, 1)


def adapt_blocks(encoder: FrameEncoder, adapter: Adapter, last: int | None, context: Context) -> tuple[int, int]:
    """Puts an adapter's parts into the last blocks of a ViT; gives the first of them and the tokens' channels."""
    visual, tower = vit_of(encoder, type(adapter).__name__)
    if last is not None and not 1 <= last <= tower.layers:
        raise ValueError(f"Adapted: last={last}, but the tower has {tower.layers} blocks; leave it out for all.")
    context.checkpointing |= visual.transformer.grad_checkpointing
    visual.set_grad_checkpointing(False)  # AdaptedBlock does it, with the clips at hand
    first = 0 if last is None else tower.layers - last
    for index, block in enumerate(visual.transformer.resblocks):
        part = adapter.part(index, tower) if index >= first else None
        visual.transformer.resblocks[index] = AdaptedBlock(block, part, context)
    return first, tower.width


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


def vit_of(encoder: FrameEncoder, wanted_by: str) -> tuple[Any, Tower]:
    """The encoder's tower and its shape.

    Raises:
        ValueError: when it is not an open_clip ViT of plain blocks with a class token, or adapted already.
    """
    visual: Any = encoder.visual
    blocks = visual.transformer.resblocks if isinstance(visual, VisionTransformer) else []
    if not blocks or not all(isinstance(block, ResidualAttentionBlock) for block in blocks) or visual.attn_pool:
        raise ValueError(
            f"{wanted_by} needs an open_clip ViT of plain blocks with a class token (ViT-B-32, ViT-B-16, ViT-L-14...) "
            f"that has no adapter yet, found {encoder.identity}."
        )
    first = blocks[0]
    tower = Tower(
        width=first.attn.embed_dim,
        heads=first.attn.num_heads,
        layers=len(blocks),
        hidden=first.mlp.c_fc.out_features,
        grid=visual.grid_size,
        channels=encoder.channels,
    )
    return visual, tower


def unfreeze(visual: nn.Module, adapter: Adapter) -> None:
    """Trains the weights of the tower that the adapter names."""
    for name in adapter.trained:
        weight = visual.get_parameter(name)
        if weight.dtype == torch.bfloat16:
            raise ValueError(
                f"{type(adapter).__name__} trains the tower's {name}, which precision='bf16' holds too coarsely to "
                "step in: use precision='fp32', or tell the adapter not to train it (tune_norm or tune_ends: false)."
            )
        weight.requires_grad_(True)
