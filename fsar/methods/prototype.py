"""Prototypical network on frame features: any alignment, a temporal module and a fusion if they are given.

Snell et al. 2017, "Prototypical Networks for Few-shot Learning", https://arxiv.org/abs/1703.05175. With a frozen CLIP
it needs no training and is the floor under every other number: ``FrameMean`` gives the bag of frames, ``OTAM`` the row
"CLIP frozen + OTAM" of the CLIP-FSAR paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.fusion.base import Fusion
from fsar.method import AlignedMethod, Parts, Scores
from fsar.refinement import Refinement
from fsar.shots import shot_groups, shot_mean

QUERIES_AT_ONCE = 16
"""Of an episode, where there is another query for every class: n times their frames are held at a time."""


class Prototype(AlignedMethod):
    """``logits_c = Σ_l a_l similarity(F(f_Q,l), mean over shots of F(f_S,l))``, F the temporal module or nothing, over
    the levels l of the fusion; one, the frames themselves, without it.

    Args:
        encoder: any frame encoder, with or without a text tower.
        alignment: compares query and prototype frames.
        temporal: ``(... t d) -> (... t d)``, such as fsar.temporal.TemporalTransformer: a head to train on a frozen
            encoder.
        fusion: what stands between encoder and matching, such as fsar.fusion.MultiScale.

    >>> from fsar.alignment import BiMHM
    >>> Prototype(encoder, BiMHM()).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment,
        temporal: nn.Module | None = None,
        fusion: Fusion | None = None,
    ) -> None:
        if fusion is not None:
            self.uses_text, self.needs = fusion.reads_text, fusion.needs
        super().__init__(encoder, alignment)
        self.temporal = nn.Identity() if temporal is None else temporal
        self.fusion = fusion

    def refine_with(self, refinement: Refinement) -> None:
        self.refinable = self.fusion is None  # whose levels are matched one by one
        super().refine_with(refinement)

    def query_parts(self, features: Features) -> Parts:
        if self.fusion is None:
            return {"frames": self.temporal(features["frames"])}
        return {name: self.temporal(x) for name, x in self.fusion.fuse(features).items()}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        if self.fusion is None:
            return self.query_parts(features)
        return {name: self.temporal(x) for name, x in self.fusion.fuse_support(features, text).items()}

    def compared(  # type: ignore[override]
        self, support: Parts, query: Parts, episode: Task, text: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """The frames, and those of the prototypes; None where a fusion leaves none."""
        if self.fusion is not None and not self.fusion.keeps_frames:
            return None
        return super().compared(support, query, episode, text)

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        if self.fusion is None:
            return super().score(support, query, episode, text)
        levels = [self.compare(support[name], x, episode, text) for name, x in query.items()]  # each (... q n)
        logits = torch.stack(levels, -1) @ self.fusion.weigh(len(levels)).to(levels[0])
        return Scores(logits, logits)

    def compare(self, support: Tensor, query: Tensor, episode: Task, text: Tensor) -> Tensor:
        """Similarity ``(... q n)`` of one level: series ``(... v t d)``, or ``(... v c t d)`` of c places."""
        assert self.fusion is not None
        merge_shots = shot_groups if self.alignment.merges_shots else shot_mean
        prototypes = merge_shots(support, episode.support_labels, episode.ways)
        if query.dim() - episode.query_labels.dim() == 3:  # each place by itself, then their mean
            places = -3
            query, prototypes = query.movedim(places, -4), prototypes.movedim(places, -5 + int(self.averages_shots))
            return self.alignment(query, prototypes).mean(-3)
        if self.fusion.conditions_queries:
            one = prototypes.unsqueeze(-3 if self.averages_shots else -4)  # (... n 1 [k] t d)
            found = []
            for some in query.split(QUERIES_AT_ONCE, dim=-3):
                each = self.fusion.fuse_for_classes(some, text[episode.classes])  # (... n q t d)
                found.append(self.alignment(each, one).squeeze(-1).mT)
            return torch.cat(found, -2)
        return self.alignment(query, prototypes)
