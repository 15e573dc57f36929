"""An encoder joined with an adapter inside its tower; a frame encoder itself, that stands wherever one is expected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fsar.adapters.base import Adapter, Clip, FramePositions, StageAdapter
from fsar.adapters.lora import LoRA
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.adapting import (
    Context,
    adapt_blocks,
    adapt_stages,
    change_weights,
    drop_projection,
    unfreeze,
)
from fsar.encoders.tower.chunks import Tensors
from fsar.encoders.tower.plain import find_vit
from fsar.encoders.tower.precision import refuse_int8
from fsar.encoders.video.encoder import VideoEncoder


class Adapted(FrameEncoder):
    """A tower with an adapter inside. The clips' number of frames is read off their shape.

    Args:
        encoder: a ViT of plain blocks, of open_clip or timm (``ClipEncoder``, ``ImageEncoder``); for a
            ``StageAdapter`` a ResNet, such as ``ImageEncoder`` with "resnet50"; for ``LoRA`` any network, one that sees
            whole clips (``VideoEncoder``) too: what is made of it is a ``VideoEncoder`` still. It is taken over, not
            copied.
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
        ValueError: a tower that the adapter does not fit, and why; an adapter that trains weights of the tower while
            they are held in bfloat16.

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
        refuse_whole_clips(encoder, adapter)
        refuse_int8(encoder.visual, type(adapter).__name__)
        visual: Any = encoder.visual
        vit = find_vit(visual)
        first, width, trained = 0, encoder.channels, adapter.trained
        low_rank = adapter if isinstance(adapter, LoRA) and (vit is None or vit.timm) else None
        if low_rank or isinstance(adapter, StageAdapter):
            fits = "any network" if low_rank else "a ResNet"
            if not project or output != "frames" or (checkpointing if low_rank else last is not None):
                leave = "checkpointing, project and output" if low_rank else "last, project and output"
                raise ValueError(f"{type(adapter).__name__} stands in {fits}: leave out {leave}.")
            if low_rank:
                first = change_weights(encoder, low_rank, last)
            elif isinstance(adapter, StageAdapter):
                adapt_stages(encoder, adapter, context)
        else:
            vit, first, width = adapt_blocks(encoder, adapter, last, context)
            trained = tuple(map(vit.place, trained))
            if not project:
                drop_projection(visual)
        unfreeze(visual, trained, type(adapter).__name__)
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
        if adapter.frames and vit is not None:
            visual.frame_positions = FramePositions(adapter.frames, width)
            first = 0 if adapter.frames_first else first
            place = vit.blocks[first] if first else visual.get_submodule(vit.place("ln_pre"))
            place.register_forward_pre_hook(self._add_positions)
        if output == "video" and vit is not None:
            visual.get_submodule(vit.place("ln_post")).register_forward_pre_hook(self._over_frames)
        self.output, self.first, self.context = output, first, context
        self.flipped = getattr(encoder, "channel_order", "rgb") == "bgr"
        self.across_clips, self.reads_text = adapter.across_clips, adapter.reads_text
        self.lower_identity = encoder.lower_identity
        self.frames_at_once = encoder.frames_per_chunk
        if isinstance(encoder, VideoEncoder):
            self.__class__ = AdaptedVideo
            vars(self).update({name: vars(encoder)[name] for name in AdaptedVideo.taken_over})

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
        return tuple(name for name in super().gives if name not in ("patches", "projected") or self.output == "frames")

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


class AdaptedVideo(VideoEncoder, Adapted):
    """What :class:`Adapted` makes of a :class:`VideoEncoder`: clips become steps as there, by changed weights."""

    taken_over = (
        *("frames_per_chunk", "time_stride", "frames", "builds_any_length"),
        *("window", "window_stride", "_of_patches"),
    )


def refuse_whole_clips(encoder: FrameEncoder, adapter: Adapter) -> None:
    """All adapters but LoRA stand in towers that see a frame at a time.

    Raises:
        ValueError: for one that sees whole clips; for a subclass of VideoEncoder.
    """
    if isinstance(encoder, VideoEncoder) and not isinstance(adapter, LoRA):
        raise ValueError(
            f"{type(adapter).__name__} stands in a tower that sees a frame at a time, but {encoder.identity} sees "
            "whole clips. Use LoRA, train its own last blocks (tune: 2 of the encoder), or use ClipEncoder or "
            "ImageEncoder."
        )
    if isinstance(encoder, VideoEncoder) and type(encoder) not in (VideoEncoder, AdaptedVideo):
        raise ValueError(
            f"{type(encoder).__name__} is a VideoEncoder of another class, whose own methods Adapted would leave out: "
            "adapt a plain VideoEncoder."
        )
