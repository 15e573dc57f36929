"""Prototypical network on frame features: no text, no temporal module, any alignment.

Snell et al. 2017, "Prototypical Networks for Few-shot Learning", https://arxiv.org/abs/1703.05175. With a frozen CLIP
it needs no training and is the floor under every other number: ``FrameMean`` gives the bag of frames, ``OTAM`` the row
"CLIP frozen + OTAM" of the CLIP-FSAR paper.
"""

from __future__ import annotations

from torch import Tensor

from episodes.episode import Episode
from fsar.alignment.base import Alignment
from fsar.clip.encoder import FrameEncoder
from fsar.method import Method, Parts, Scores
from fsar.prototypes.mean import shot_groups, shot_mean


class Prototype(Method):
    """``logits_c = similarity(f_Q, mean over shots of f_S)``.

    Args:
        encoder: any frame encoder, with or without a text tower.
        alignment: compares query and prototype frames.
    """

    uses_text = False

    def __init__(self, encoder: FrameEncoder, alignment: Alignment) -> None:
        super().__init__(encoder)
        self.alignment = alignment
        self.averages_shots = not alignment.merges_shots

    def score(self, support: Parts, query: Parts, episode: Episode, text: Tensor | None) -> Scores:
        merge_shots = shot_groups if self.alignment.merges_shots else shot_mean
        prototypes = merge_shots(support["frames"], episode.support_labels, episode.ways)
        logits = self.alignment(query["frames"], prototypes)
        return Scores(logits, logits)
