"""An encoder with a network beside its frozen tower; a frame encoder itself, that stands wherever one is expected."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from episodes.clips import Features, LowerHalf
from fsar.adapters.base import Side
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.adapting import vit_of
from fsar.encoders.weights.state import sha256_of


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
