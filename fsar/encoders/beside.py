"""An encoder with more beside its tower: a network that is trained, or the tower itself at another resolution. Frame
encoders themselves, that stand wherever one is expected."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from episodes.clips import Features, LowerHalf
from fsar.adapters.base import Side
from fsar.encoders.frame import FrameEncoder, Tensors
from fsar.encoders.tower.adapting import vit_of
from fsar.encoders.tower.precision import refuse_int8
from fsar.encoders.weights.state import sha256_of


def stretch_positions(positions: Tensor, side: int) -> Tensor:
    """A ViT's positions ``(1+p w)``, the class token's first, for ``side x side`` patches: ``(1+side² w)``, bicubic."""
    first, grid = positions[:1], positions[1:].mT.unflatten(-1, (isqrt(len(positions) - 1), -1))[None]
    wide = nn.functional.interpolate(grid.float(), (side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, wide[0].flatten(1).mT.to(first)])


def resize_frames(frames: Tensor, side: int) -> Tensor:
    """``(b c h w)`` uint8 or float in 0..1 to ``side x side``, float in 0..1; as they are where that is their size."""
    if frames.shape[-1] == side:
        return frames
    frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
    return nn.functional.interpolate(frames, (side, side), mode="bilinear", antialias=True, align_corners=False)


class TwoResolutions(FrameEncoder):
    """``frames`` of an encoder, and ``frames <size>`` of the same tower at another resolution, its positions stretched.

    What is small covers more patches of a larger picture. ``fsar.fusion.MultiScale`` with ``resolutions: [<size>]``
    reads both. Clips come at the larger of the two sizes, see ``data.size``.

    Args:
        encoder: an open_clip ViT with a position for every patch; it is taken over, not copied.
        size: the other side of a frame, pixels; a multiple of the patches' size.

    Raises:
        ValueError: another tower, or a size that is no other or no multiple.

    >>> from episodes.clips import Streams
    >>> from fsar.encoders import ClipEncoder
    >>> encoder = TwoResolutions(ClipEncoder("fsar-tiny", "shapes"), size=96)
    >>> encoder.features(Streams(frames=torch.rand(2, 4, 3, 96, 96)), ("frames", "frames 96"))
    Features(frames=(2, 4, 64), frames 96=(2, 4, 64))
    """

    def __init__(self, encoder: FrameEncoder, size: int) -> None:
        visual, plain = encoder.visual, type(encoder).features is FrameEncoder.features
        if not isinstance(visual, VisionTransformer) or type(encoder)._pass is not FrameEncoder._pass or not plain:
            raise ValueError(
                f"TwoResolutions stretches the positions of a ViT of open_clip that sees single pictures, found "
                f"{type(visual).__name__} of {encoder.identity}: give it a ClipEncoder such as ViT-B-16."
            )
        patch, usual = int(visual.patch_size[0]), encoder.image_size
        if size < patch or size % patch or size == usual:
            raise ValueError(
                f"TwoResolutions: size={size} must be a multiple of the patches' {patch} pixels and another than the "
                f"{usual} of {encoder.identity}."
            )
        largest = max(size, usual)
        super().__init__(
            visual,
            channels=encoder.channels,
            image_size=largest,
            mean=encoder.mean,
            std=encoder.std,
            text=encoder.text,
            tune="full",  # what is trained was settled by the encoder
            frames_per_chunk=encoder.frames_per_chunk,
            identity=f"{encoder.identity} + TwoResolutions {(usual, size)}",
            framing=encoder.framing if largest == usual else None,
        )
        self.usual, self.size, self.side = usual, size, size // patch

    @property
    def other(self) -> str:
        """The name of the features at the other resolution."""
        return f"frames {self.size}"

    @property
    def gives(self) -> tuple[str, ...]:
        return (*super().gives, self.other)

    @property
    def widths(self) -> dict[str, int]:
        return {**super().widths, self.other: self.channels}

    @property
    def kept_layers(self) -> tuple[int, ...]:
        return ()

    def _encode(self, frames: Tensor, needs: Sequence[str]) -> Tensors:
        found = super()._encode(resize_frames(frames, self.usual), [name for name in needs if name != self.other])
        if self.other in needs:
            positions = stretch_positions(self.visual.get_parameter("positional_embedding"), self.side)
            pixels = self._pixels(resize_frames(frames, self.size))
            seen = torch.func.functional_call(self.visual, {"positional_embedding": positions}, (pixels,))
            found[self.other] = seen.float()
        return found


class Beside(FrameEncoder):
    """The features of a network beside a frozen tower; no gradient ever enters the tower.

    They do not lie in the space of CLIP's text, so there is no text tower unless it is asked for.

    Args:
        encoder: an open_clip ViT; it is frozen and taken over.
        side: the network that reads its layers.
        keep_text: keep the text tower beside ``tower``, the frozen tower's own features, which do share its space.

    Raises:
        ValueError: a tower that is no open_clip ViT, or one that is to be trained.

    >>> from fsar.adapters import Ladder
    >>> from fsar.encoders import ClipEncoder
    >>> encoder = Beside(ClipEncoder("fsar-tiny", "shapes"), Ladder(width=16, temporal=[2]))
    >>> encoder(torch.zeros(2, 8, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([2, 8, 16])
    """

    def __init__(self, encoder: FrameEncoder, side: Side, keep_text: bool = False) -> None:
        refuse_int8(encoder.visual, type(side).__name__)
        vit, tower = vit_of(encoder, type(side).__name__, timm=False)
        visual = vit.visual
        if not encoder.frozen:
            raise ValueError(f"Beside: the tower stays frozen; give the encoder tune='frozen' ({encoder.identity}).")
        network = side.network(tower, vit.blocks)
        super().__init__(
            visual,
            channels=network.channels,
            image_size=encoder.image_size,
            mean=encoder.mean,
            std=encoder.std,
            text=encoder.text if keep_text else None,
            frames_per_chunk=encoder.frames_per_chunk,
            identity=f"{encoder.identity} + {type(side).__name__} {sorted(vars(side).items())}",
            framing=encoder.framing,
        )
        self.side = network
        self.tower_channels = encoder.channels
        self.lower_identity = encoder.lower_identity

    @property
    def frozen(self) -> bool:
        """False: the network beside the tower is trained."""
        return False

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The layers that the network reads; the whole tower is the frozen half."""
        return self.side.layers

    @property
    def gives(self) -> tuple[str, ...]:
        """What the network gives, and ``tower (... t d)``: the frozen tower's own frames, where it reads the last
        layer."""
        return (*self.side.gives, *(["tower"] if self.kept_layers[-1] == len(self.blocks) else []))

    @property
    def widths(self) -> dict[str, int]:
        """Of the network, and of the tower."""
        return {**dict.fromkeys(self.side.gives, self.channels), "tower": self.tower_channels}

    def steps(self, frames: int) -> int:
        return frames if self.side.per_frame else 1

    def above(self, lower: LowerHalf, needs: Sequence[str] = ("frames",), text: Tensor | None = None) -> Features:
        """What the network gives, ``t`` being 1 where it gives one vector a clip, from the layers that it reads, in any
        precision. It reads no text."""
        self._check_text(text)
        layers = [lower[f"layer {layer}"].float() for layer in self.kept_layers]
        found = self.side.features(tuple(x.reshape(-1, *x.shape[-3:]) for x in layers), self.blocks)
        lead = layers[0].shape[:-3]
        features = Features(
            {n: x.reshape(*lead, *x.shape[1:]).float() for n, x in found.items() if n in {"frames", *needs}}
        )
        if "tower" in needs:
            with torch.no_grad():
                features["tower"] = super().above(LowerHalf({f"layer {self.kept_layers[-1]}": layers[-1]}))["frames"]
        return features

    def fingerprint(self, trained: bool = False) -> str:
        """Of the tower, as of any encoder; with ``trained`` of the network beside it too."""
        tower = super().fingerprint(trained)
        return sha256_of([tower], self.side.state_dict()) if trained else tower
