"""Frames -> features: what every frame encoder shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from episodes.clips import Features, LowerHalf, Streams
from episodes.framing import Framing
from fsar.encoders.tower.blocks import blocks_of, keep_frozen_in_eval, set_tuning, trained_tensors
from fsar.encoders.tower.chunks import Encode, Tensors, check_pixels, encode_in_chunks
from fsar.encoders.tower.halves import first_trained, lower_half, lower_weights, upper_half
from fsar.encoders.tower.precision import Precision, hold_in
from fsar.encoders.tower.seen import check_needs, layers_among, names_given, patches_among, watched
from fsar.encoders.tower.text_tower import TextEncoder
from fsar.encoders.weights.state import sha256_of

Tune = Literal["frozen", "full"] | int


class FrameEncoder(nn.Module):
    """Clips -> named features through a network that sees one frame at a time: ``frames (... t d)`` always, and what is
    asked for of :attr:`gives`.

    Frozen or trained is read off the weights, so an adapter put into :attr:`blocks` makes the tower build a graph.
    Modules without a trained weight stay in evaluation mode (BatchNorm keeps its statistics). On a CPU autocast is off
    inside the tower: it would convert every weight on every call; hold fewer bits instead (``precision``).

    Args:
        visual: ``(b c h w)`` normalised frames -> ``(b d)``.
        channels: ``d``.
        image_size: height and width of a frame, pixels.
        mean: of the network's pixels, per channel, on the scale 0..1.
        std: likewise.
        text: the text tower that shares the space of the features, if there is one.
        tune: "frozen"; the number of last blocks that are trained with all that follows them; or "full".
        precision: of the weights of a frozen tower. The features are float32 whatever it is.
        frames_per_chunk: frames that pass the tower together when no graph is needed; by default
            :func:`fsar.encoders.tower.chunks.usual_chunk`: 8 of 224 pixels on a CPU, and 256 elsewhere.
        identity: whatever else decides the features, for :meth:`fingerprint`.
        framing: how the frames are resized before they come here; by default as in published few-shot code.

    Raises:
        ValueError: bf16 or int8 weights that are to be trained, or a number of blocks that the tower does not have.

    >>> visual = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    >>> encoder = FrameEncoder(visual, channels=4, image_size=8, mean=[0.5] * 3, std=[0.5] * 3)
    >>> encoder(torch.zeros(2, 5, 3, 8, 8, dtype=torch.uint8)).shape
    torch.Size([2, 5, 4])
    """

    reads_text: bool = False
    """True when something inside the tower reads the class text of a clip, as an adapter may."""

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        visual: nn.Module,
        channels: int,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        text: TextEncoder | None = None,
        tune: Tune = "frozen",
        precision: Precision = "fp32",
        frames_per_chunk: int | None = None,
        identity: str = "",
        framing: Framing | None = None,
    ) -> None:
        super().__init__()
        self.visual = set_tuning(visual, tune)
        hold_in(precision, self.visual, tune, image_size, identity)
        self.text, self.channels, self.image_size = text, channels, image_size
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self.identity = self.lower_identity = identity
        self.framing, self.frames_per_chunk = framing or Framing.usual(image_size, identity), frames_per_chunk
        self.register_buffer("_mean", torch.tensor(self.mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).reshape(-1, 1, 1), persistent=False)
        self.train()

    @property
    def frozen(self) -> bool:
        """Whether nothing in the visual tower is trained."""
        return not any(parameter.requires_grad for parameter in self.visual.parameters())

    @property
    def blocks(self) -> nn.ModuleList | nn.Sequential:
        """The tower's blocks, first to last; an assignment ``blocks[i] = ...`` puts an adapter into a ViT.

        Raises:
            ValueError: the tower is not a sequence of blocks.
        """
        return blocks_of(self.visual)

    @property
    def pixels(self) -> dict[str, Any]:
        """What a frame is to the network, as plain values: how it is resized and cut, its mean and deviation."""
        framing = {key: value for key, value in asdict(self.framing).items() if key != "encoder"}
        return {"mean": list(self.mean), "std": list(self.std), **framing}

    def require_text(self) -> TextEncoder:
        """The text tower, for a method that cannot do without; a ValueError where there is none."""
        if self.text is None:
            raise ValueError(
                f"{type(self).__name__} ({self.identity}) has no text tower, which this method needs. Use "
                f"fsar.encoders.ClipEncoder, whose models all have one, or a method that sees images alone."
            )
        return self.text

    @property
    def gives(self) -> tuple[str, ...]:
        """The names that :meth:`features` can be asked for; ``layers`` stands for every ``layer i`` too."""
        return names_given(self.visual)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the ``patches``, which stand row by row."""
        return (isqrt(self._patches[0]),) * 2

    @property
    def widths(self) -> dict[str, int]:
        """Channels of ``frames`` and, where it has them, of ``patches``."""
        return {"frames": self.channels, **({"patches": self._patches[1]} if "patches" in self.gives else {})}

    def steps(self, frames: int) -> int:
        """How many steps ``t`` the features of a clip of so many frames have; a ValueError where it takes none."""
        return frames

    def spans(self, frames: int) -> list[tuple[int, int]]:
        """First and last frame that each step of a clip of so many frames stands for."""
        share = frames // self.steps(frames)
        return [(first, first + share - 1) for first in range(0, frames, share)]

    def check_needs(self, needs: Sequence[str], reader: str) -> None:
        """Refuse a reader of features that this encoder does not give: a ValueError names both, and the way out."""
        count = len(self.blocks) if layers_among(needs) and "layers" in self.gives else 0
        check_needs(needs, self.gives, count, reader, f"{type(self).__name__} ({self.identity})")

    def forward(self, clips: Tensor, text: Tensor | None = None) -> Tensor:
        """The ``frames`` alone of pixels.

        Args:
            clips: ``(... t c h w)``, uint8 in 0..255 or floating point in 0..1, RGB.
            text: ``(... d)`` class text of each clip, for an encoder that :attr:`reads_text`; none for a query.

        Returns:
            ``(... t d)`` float32, not normalised in length.

        Raises:
            ValueError: frames of another size, number of channels or range; a text that nothing would read.
        """
        return self.features(Streams(frames=clips), text=text)["frames"]

    def features(self, clips: Streams, needs: Sequence[str] = ("frames",), text: Tensor | None = None) -> Features:
        """What is needed of every frame, in one pass.

        Args:
            clips: with ``frames`` as in :meth:`forward`, and so is ``text``.
            needs: names of :attr:`gives`: ``patches (... t p w)`` are the last map or patch tokens, after the closing
                norm and before the projection, see :attr:`grid`, ``projected (... t p d)`` after it, where the tower is
                a ViT of open_clip: in the space of the text; ``layer i (... t p w)`` is what block ``i`` (from 1)
                gives before any closing norm, 0 what enters the first and -1 the last, class token first where the
                tower has one; ``layers (... t l p w)`` are all of these.

        Returns:
            Float32 ``frames (... t d)``, and the others that are needed.

        Raises:
            ValueError: as in :meth:`forward`, and for a name that the encoder does not give.
        """
        self.check_needs(needs, "what is asked for")
        self._check_text(text)
        if self.kept_layers and not layers_among(needs):
            return self.above(self.below(clips), needs, text)
        return Features(self._pass(lambda x: self._encode(x, needs), self._checked(clips), 3, text))

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The layers, numbered as in :meth:`features`, at which the encoder falls into a frozen and a trained half.

        None for a frozen tower, whose features can be kept as they are; none either when nothing of it is frozen, or
        when it is no ViT of open_clip or timm.
        """
        first = first_trained(self.visual)
        return (first,) if first else ()

    def below(self, clips: Streams) -> LowerHalf:
        """The frozen half: what no training changes and no class name, so that a feature store can keep it;
        :meth:`features` is :meth:`above` after this.

        Returns:
            ``layer i (... t p w)`` for each of :attr:`kept_layers`, in the precision of the weights.

        Raises:
            ValueError: as in :meth:`features`, and for an encoder that has no halves.
        """
        layers, frames = self._require_halves(), self._checked(clips)
        with torch.set_grad_enabled(torch.is_grad_enabled() and frames.requires_grad):
            return LowerHalf(self._pass(lambda x: lower_half(self.visual, self._pixels(x), layers), frames, 3))

    def above(self, lower: LowerHalf, needs: Sequence[str] = ("frames",), text: Tensor | None = None) -> Features:
        """The trained half: features from what :meth:`below` gave, in any precision."""
        self._check_text(text)
        first, tower = self._require_halves()[-1], next(self.visual.parameters()).dtype

        def encode(x: Tensor) -> Tensors:
            frames, last = upper_half(self.visual, x.to(tower), first)
            return {"frames": frames.float(), **patches_among(needs, self.visual, last)}

        return Features(self._pass(encode, lower[f"layer {first}"], 2, text))

    def fingerprint(self, trained: bool = False) -> str:
        """SHA-256 in hex of what defines the features: identity, pixel statistics, weights and their precision.

        Args:
            trained: cover the trained weights too. Without them it names the frozen weights that a checkpoint of
                the trained ones builds on; with them it names the features as they are now.
        """
        skipped = set() if trained else trained_tensors(self.visual)
        weights = {name: x for name, x in self.visual.state_dict().items() if name not in skipped}
        return sha256_of([self.identity, self.image_size, self.mean, self.std], weights)

    def lower_fingerprint(self) -> str:
        """SHA-256 in hex of what defines the result of :meth:`below`, and of nothing above it: encoders that differ in
        what they train there, or in their adapters, share it."""
        layers = self._require_halves()
        about = [self.lower_identity, self.image_size, self.mean, self.std, layers]
        return sha256_of(about, dict(lower_weights(self.visual, max(layers))))

    def train(self, mode: bool = True) -> FrameEncoder:
        """Training mode for what is trained; everything else stays in evaluation mode."""
        super().train(mode)
        keep_frozen_in_eval(self.visual)
        return self

    def normalise(self, frames: Tensor) -> Tensor:
        """``(b c h w)`` uint8 or float in 0..1 -> what the network was trained on, float32."""
        frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
        return (frames - self._mean) / self._std

    def _require_halves(self) -> tuple[int, ...]:
        if not self.kept_layers:
            raise ValueError(
                f"{self.identity} has no frozen lower half: nothing of it is trained, or it is trained from its first "
                "block on, or it is no ViT of open_clip or timm."
            )
        return self.kept_layers

    def _check_text(self, text: Tensor | None) -> None:
        if text is not None and not self.reads_text:
            raise ValueError(f"{self.identity} reads no class text: leave text out.")

    def _pixels(self, frames: Tensor) -> Tensor:
        weight = next(self.visual.parameters(), frames.new_empty(0, dtype=torch.float32))
        return self.normalise(frames).to(weight.dtype)

    def _encode(self, frames: Tensor, needs: Sequence[str]) -> Tensors:
        with watched(self.visual, needs) as found:
            return {"frames": self.visual(self._pixels(frames)).float(), **found()}

    def _pass(self, encode: Encode, clips: Tensor, axes: int, text: Tensor | None = None) -> Tensors:
        """``encode`` of the frames ``(b *)`` of clips ``(... t *)`` with ``axes`` axes behind the frames; in one
        piece when there is to be a graph."""
        needs_graph = torch.is_grad_enabled() and (clips.requires_grad or not self.frozen)
        found = encode_in_chunks(encode, clips.flatten(0, -axes - 1), self.visual, needs_graph, self.frames_per_chunk)
        return {name: value.unflatten(0, clips.shape[:-axes]) for name, value in found.items()}

    @cached_property
    def _patches(self) -> tuple[int, ...]:
        """Number and channels of the patches, those of black frames."""
        self.check_needs(["patches"], "grid")
        training = self.training
        self.eval()
        with torch.no_grad():
            black = torch.zeros(8, 3, self.image_size, self.image_size, dtype=torch.uint8, device=self._mean.device)
            shape = self.features(Streams(frames=black), ["patches"])["patches"].shape
        self.train(training)
        if isqrt(shape[-2]) ** 2 != shape[-2]:
            raise ValueError(f"{self.identity} gives {shape[-2]} patches, which are no square.")
        return tuple(shape[-2:])

    def _checked(self, streams: Streams) -> Tensor:
        """The frames ``(... t c h w)``, once they are such as the encoder takes."""
        if "frames" not in streams:
            raise ValueError(
                f"{self.identity} reads frames, but the clips are {' and '.join(streams)} alone: take an encoder that "
                "reads these (fsar.encoders.SkeletonViews for joints), or clips that are videos."
            )
        check_pixels(streams["frames"], self.image_size, self.identity)
        return streams["frames"]
