"""Prototypical network on frame features: no text, any alignment, a temporal module if one is given.

Snell et al. 2017, "Prototypical Networks for Few-shot Learning", https://arxiv.org/abs/1703.05175. With a frozen CLIP
it needs no training and is the floor under every other number: ``FrameMean`` gives the bag of frames, ``OTAM`` the row
"CLIP frozen + OTAM" of the CLIP-FSAR paper.
"""

from __future__ import annotations

from torch import nn

from episodes.clips import Features
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.method import AlignedMethod, Parts


class Prototype(AlignedMethod):
    """``logits_c = similarity(F(f_Q), mean over shots of F(f_S))``, F the temporal module or nothing.

    Args:
        encoder: any frame encoder, with or without a text tower.
        alignment: compares query and prototype frames.
        temporal: ``(... t d) -> (... t d)``, such as fsar.temporal.TemporalTransformer: a head to train on a frozen
            encoder.
    """

    uses_text = False

    def __init__(self, encoder: FrameEncoder, alignment: Alignment, temporal: nn.Module | None = None) -> None:
        super().__init__(encoder, alignment)
        self.temporal = nn.Identity() if temporal is None else temporal

    def query_parts(self, features: Features) -> Parts:
        return {"frames": self.temporal(features["frames"])}
