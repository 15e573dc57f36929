"""An encoder with a network beside its frozen tower; a frame encoder itself, that stands wherever one is expected."""

from __future__ import annotations

import torch
from torch import Tensor

from fsar.adapted import vit_of
from fsar.adapters.base import Side
from fsar.clip.frame_encoder import FrameEncoder


class Beside(FrameEncoder):
    """The features of a network beside a frozen tower; no gradient ever enters the tower.

    They do not lie in the space of CLIP's text, so there is no text tower.

    Args:
        encoder: an open_clip ViT; it is frozen and taken over.
        side: the network that reads its layers.

    Raises:
        ValueError: a tower that is no open_clip ViT, or one that is to be trained.
    """

    def __init__(self, encoder: FrameEncoder, side: Side) -> None:
        visual, tower = vit_of(encoder, type(side).__name__)
        if not encoder.frozen:
            raise ValueError(f"Beside: the tower stays frozen; give the encoder tune='frozen' ({encoder.identity}).")
        network = side.network(tower, visual.transformer.resblocks)
        super().__init__(
            visual,
            channels=network.channels,
            image_size=encoder.image_size,
            mean=encoder.mean,
            std=encoder.std,
            frames_per_chunk=encoder.frames_per_chunk,
            identity=f"{encoder.identity} + {type(side).__name__} {sorted(vars(side).items())}",
        )
        self.side = network

    @property
    def frozen(self) -> bool:
        """False: the network beside the tower is trained."""
        return False

    def forward(self, clips: Tensor) -> Tensor:
        """``(... t c h w)`` to ``(... t d)``; ``t`` is 1 for a network that gives one vector a clip."""
        with torch.no_grad():
            states = self.tokens(clips, self.side.layers).layers
        lead = clips.shape[:-4]
        features = self.side(tuple(s.reshape(-1, *s.shape[-3:]) for s in states), self.blocks)
        return features.reshape(*lead, *features.shape[1:])

    def fingerprint(self, trained: bool = False) -> str:
        """As of any encoder; with ``trained`` refused, since the features change with every step."""
        if trained:
            raise ValueError("Beside: the features of a trained side network are not meant to be stored.")
        return super().fingerprint()
