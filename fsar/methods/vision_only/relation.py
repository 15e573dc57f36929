"""What HyRSM and HyRSM++ share: the hybrid relation module, a set metric on what it gives, a classifier of frames."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.alignment.costs import CosineCost
from fsar.alignment.direct import BiMHM
from fsar.alignment.per_query.chunks import chunk_size, over_queries
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy, over_classes
from fsar.method import Method, Parts, Scores
from fsar.shots import shot_mean
from fsar.temporal.hybrid_relation import HybridRelation

Merge = Literal["before", "after"]


class RelationMethod(Method):
    """Base of both; a subclass says its losses.

    Args:
        encoder: any frame encoder.
        alignment: compares a query with the supports that were made for it; the papers' Bi-MHM with the plain cosine
            when not given.
        merge: average the shots of a class before clips see each other, or its costs afterwards.
        class_weight: of the classifier's loss; 0 for no classifier.
        train_classes: its outputs, at least as many as the training split has classes.
        position_scale: A.
        position_weight: B.
        heads: of the attentions.
        queries_per_chunk: queries, of all episodes together, that are compared at a time; by default 32 on a CPU and
            256 elsewhere. A chunk makes about three tensors of ``queries_per_chunk · s · t · d`` numbers.
        separate_passes: encode support and query clips in two passes while training.

    Raises:
        ValueError: for an alignment that merges shots itself.
    """

    uses_text = False
    same_in_both_roles = True

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment | None = None,
        merge: Merge = "before",
        class_weight: float = 0.6,
        train_classes: int = 64,
        position_scale: float = 10.0,
        position_weight: float = 1.0,
        heads: int = 8,
        queries_per_chunk: int | None = None,
        separate_passes: bool = False,
    ) -> None:
        super().__init__(encoder)
        self.alignment = BiMHM(cost=CosineCost(epsilon=0.0)) if alignment is None else alignment
        if self.alignment.merges_shots:
            raise ValueError(
                f"{type(self).__name__} makes supports anew for every query, which {type(self.alignment).__name__} "
                "cannot take: it compares all shots of a class at once. Use an alignment such as fsar.alignment.BiMHM."
            )
        self.relation = HybridRelation(encoder.channels, heads, position_scale, position_weight)
        self.classifier = nn.Linear(encoder.channels, train_classes) if class_weight else None
        self.merge, self.averages_shots = merge, merge == "before"
        self.class_weight = class_weight
        self.queries_per_chunk = queries_per_chunk
        self.separate_passes = separate_passes

    def describe(self) -> str:
        return f"{type(self).__name__} with {type(self.alignment).__name__}"

    def query_parts(self, features: Features) -> Parts:
        """See :meth:`fsar.temporal.hybrid_relation.HybridRelation.clip_parts`; z alone is read in training only."""
        parts = self.relation.clip_parts(features["frames"])
        return parts if self.training else {name: x for name, x in parts.items() if name != "within"}

    def prototypes(self, support: Parts, episode: Task) -> Parts:
        """What queries are compared with: the mean of the shots of every class, or the clips themselves."""
        kept = {name: x for name, x in support.items() if name != "within"}
        if self.merge == "after":
            return kept
        return {name: shot_mean(x, episode.support_labels, episode.ways) for name, x in kept.items()}

    def matched(self, query: Parts, prototypes: Parts, episode: Task) -> Parts:
        """What :meth:`compare` says of every query, with similarities ``(... q n)`` to the classes."""
        labels = episode.support_labels
        size = chunk_size(self.queries_per_chunk, labels.device, on_cpu=32)
        found = over_queries(self.compare, query, prototypes, labels.dim() - 1, size)
        if self.merge == "after":
            found["similarity"] = shot_mean(found["similarity"].mT, labels, episode.ways).mT
        return found

    def compare(self, query: Parts, support: Parts) -> Parts:
        """Similarities ``(... q s)`` of queries and supports."""
        queries, supports = self.relation(query, support)
        return {"similarity": self.alignment(queries.unsqueeze(-3), supports)[..., 0, :]}

    def frame_classes(self, support: Parts, query: Parts, episode: Task) -> Tensor | None:
        """Logits ``(... (s+q)t C)`` of every frame over the classes of the split, supports first; None without a
        classifier, and out of training."""
        if self.classifier is None or not self.training:
            return None
        clips = torch.cat([support["within"], query["within"]], dim=-3)
        return over_classes(self.classifier, clips.flatten(-3, -2), episode)

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        logits = self.matched(query, self.prototypes(support, episode), episode)["similarity"]
        return Scores(logits, logits, self.frame_classes(support, query, episode))

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """CE(few-shot) + class_weight · CE(class logits of every frame)."""
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        if scores.class_logits is None:
            return {"loss": few_shot}
        frames = scores.class_logits.shape[-2] // episode.clip_classes.shape[-1]
        by_class = cross_entropy(scores.class_logits, episode.clip_classes.repeat_interleave(frames, -1))
        loss = few_shot + self.class_weight * by_class
        return {"loss": loss, "few_shot_loss": few_shot, "class_loss": by_class}


RELATION_NAMES: dict[str, str | None] = {
    r"(?:head\.)?pe\.pe$": None,  # sines that we compute
    r"(?:head\.)?temporal_atte_before\.norm\.": "relation.within.norm.",
    r"(?:head\.)?temporal_atte_before\.fn\.": "relation.within.",
    r"(?:head\.)?temporal_atte\.w_([qkv])s\.": r"relation.across.to_\1.",
    r"(?:head\.)?temporal_atte\.fc\.": "relation.across.to_out.",
    r"(?:head\.)?temporal_atte\.layer_norm\.": "relation.across.norm.",
    r"(?:head\.)?layer2\.0\.": "relation.join.",
    r"(?:head\.)?classification_layer\.": "classifier.",
}
"""Released names and ours, for :func:`fsar.functional.rename_released`."""


def linear_join(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The released convolution of kernel 1 as the linear map that it is."""
    return {name: x.squeeze(-1) if name == "relation.join.weight" else x for name, x in state.items()}
