"""HyRSM++: HyRSM whose frames are also told to change slowly, and which may learn from unlabelled clips.

Wang et al. 2023, "HyRSM++: Hybrid Relation Guided Temporal Set Matching for Few-shot Action Recognition",
https://arxiv.org/abs/2301.03330; released code https://github.com/alibaba-mmai-research/HyRSMPlusPlus, whose numbers
this file has. Scores are those of HyRSM (:mod:`fsar.methods.vision_only.hyrsm`); with g the final frames of a clip::

    Δ(i,j)     1 - cos(g_i, g_j)
    L(i,j)     1 where |i-j| ≤ w, else 0
    R(i,j)     1 / ((i-j)² + 1) where L is 1, else 1 - exp(-(|i-j| - w)² / σ²)
    coherence  mean_ij L R Δ + c (1-L) relu(R - Δ)      of supports (each as it is for each query) + of queries
    loss       CE(logits) + class_weight · CE(class) + coherence_weight · coherence

Unlabelled clips: each is scored as a query; where the likeliest class has a probability softmax(logits / T) of the
threshold or more, the clip joins the shots of that class, and queries are scored against the new means.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from episodes.clips import Clips, as_clips
from episodes.episode import Episode, Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import RESNET_NAMES, rename_released
from fsar.method import Parts, Scores
from fsar.methods.vision_only.relation import RELATION_NAMES, Merge, RelationMethod, linear_join


def coherence_targets(frames: int, window: int, balance: float) -> tuple[Tensor, Tensor]:
    """R and L, ``(t t)`` each, for clips of any number of frames."""
    apart = (torch.arange(frames)[:, None] - torch.arange(frames)).abs()
    band = apart <= window
    far = 1 - torch.exp(-((apart - window) ** 2) / balance)
    return torch.where(band, 1 / (apart**2 + 1.0), far), band.float()


def temporal_coherence(frames: Tensor, window: int, balance: float, coefficient: float = 1.0) -> Tensor:
    """Coherence loss of clips ``(... t d)``, one number each ``(...)``.

    Args:
        frames: of the clips.
        window: w, frames that count as neighbours.
        balance: σ², how soon frames beyond should differ.
        coefficient: c.

    Examples:
        >>> still = torch.ones(1, 4, 8)  # all frames are neighbours, and alike
        >>> round(temporal_coherence(still, window=3, balance=23.0).item(), 6)
        0.0
    """
    unit = normalize(frames.float(), dim=-1)
    distance = 1 - unit @ unit.mT
    target, band = (x.to(frames.device) for x in coherence_targets(frames.shape[-2], window, balance))
    pulled, pushed = band * target * distance, (1 - band) * (target - distance).relu()
    return (pulled + coefficient * pushed).mean((-2, -1))


def pseudo_labels(logits: Tensor, threshold: float, temperature: float) -> tuple[Tensor, Tensor]:
    """The likeliest class of unlabelled clips, and whether it is likely enough: ``(... u n)`` to ``(... u)`` twice."""
    likely, labels = (logits / temperature).softmax(-1).max(-1)
    return labels, likely >= threshold


@dataclass
class CoherentScores(Scores):
    """Scores with, in training, the coherence loss of every query and of the supports made for it, ``(... q)``."""

    coherence: Tensor | None = None


class HyRSMPlusPlus(RelationMethod):
    """HyRSM++.

    ``fsar fit`` has no unlabelled clips to give; hand them over in Python: ``method(episode, unlabelled=clips)``.

    Args:
        encoder: any frame encoder. The paper's is a ResNet-50 trained on ImageNet, all of it trained on.
        alignment: compares a query with the supports that were made for it; the paper's Bi-MHM with the plain cosine
            when not given.
        merge: average the shots of a class "before" clips see each other, or its costs "after".
        class_weight: as released SSv2-Full and UCF101 0.6, EPIC-Kitchens 0.5, SSv2-Small 0.2, HMDB51 0.15, Kinetics-100
            0.1. 0 for no classifier.
        train_classes: outputs of the classifier, at least as many as the training split has classes.
        window: w; as released 1 for HMDB51 and SSv2-Full, 3 elsewhere.
        balance: σ²; as released 51 for HMDB51 and SSv2-Full, 23 elsewhere.
        coefficient: c; as released 20 for HMDB51, 10 elsewhere.
        coherence_weight: as released SSv2 0.3, HMDB51 0.2, the others 0.1.
        threshold: probability from which an unlabelled clip joins a class. This default and the next are ours.
        temperature: T of that probability.
        published_threshold: ignore the unlabelled clips when the first alone is likely enough, as the released code
            does (it asks whether any *number* of an accepted clip is not 0).
        position_scale: A; as released 2,048 for EPIC-Kitchens, 50 for HMDB51, 10 elsewhere.
        position_weight: B; as released 0.1 for EPIC-Kitchens, 1 elsewhere.
        heads: of both attentions.
        queries_per_chunk: see :class:`fsar.methods.HyRSM`.
        separate_passes: encode support and query clips in two passes while training, as released.

    Raises:
        ValueError: for a window below 0, or a balance or temperature that is not positive.

    >>> HyRSMPlusPlus(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment | None = None,
        merge: Merge = "before",
        class_weight: float = 0.6,
        train_classes: int = 64,
        window: int = 3,
        balance: float = 23.0,
        coefficient: float = 10.0,
        coherence_weight: float = 0.1,
        threshold: float = 0.9,
        temperature: float = 1.0,
        published_threshold: bool = False,
        position_scale: float = 10.0,
        position_weight: float = 1.0,
        heads: int = 8,
        queries_per_chunk: int | None = None,
        separate_passes: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            alignment,
            merge,
            class_weight,
            train_classes,
            position_scale,
            position_weight,
            heads,
            queries_per_chunk,
            separate_passes,
        )
        if window < 0 or not balance > 0 or not temperature > 0:
            raise ValueError(
                "HyRSM++: window must be 0 or more, balance and temperature positive; found "
                f"{window=}, {balance=}, {temperature=}."
            )
        self.window, self.balance, self.coefficient = window, balance, coefficient
        self.coherence_weight = coherence_weight
        self.threshold, self.temperature, self.published_threshold = threshold, temperature, published_threshold

    def compare(self, query: Parts, support: Parts) -> Parts:
        """Similarities ``(... q s)``, and in training the coherence loss ``(... q)``."""
        queries, supports = self.relation(query, support)
        found = {"similarity": self.alignment(queries.unsqueeze(-3), supports)[..., 0, :]}
        if self.training:
            own, others = (
                temporal_coherence(x, self.window, self.balance, self.coefficient) for x in (queries, supports)
            )
            found["coherence"] = own + others.mean(-1)
        return found

    def score(
        self, support: Parts, query: Parts, episode: Task, text: Tensor, unlabelled: Parts | None = None
    ) -> CoherentScores:
        """Scores of the queries.

        Args:
            support: as for every method, and so are ``query``, ``episode`` and ``text``.
            query: likewise.
            episode: likewise.
            text: likewise.
            unlabelled: parts ``(... u *)`` of clips of unknown class, as :meth:`query_parts` gives them.

        Raises:
            ValueError: for unlabelled clips with ``merge="after"``.
        """
        prototypes = self.prototypes(support, episode)
        if unlabelled is not None:
            prototypes = self.extended(support, prototypes, unlabelled, episode)
        found = self.matched(query, prototypes, episode)
        classes = self.frame_classes(support, query, episode)
        return CoherentScores(found["similarity"], found["similarity"], classes, found.get("coherence"))

    def extended(self, support: Parts, prototypes: Parts, unlabelled: Parts, episode: Task) -> Parts:
        """Means ``(... n *)`` of the shots of each class and the unlabelled clips that are likely to be of it."""
        if self.merge == "after":
            raise ValueError("HyRSMPlusPlus: unlabelled clips join the mean of a class, so they need merge='before'.")
        with torch.no_grad():
            logits = self.matched(unlabelled, prototypes, episode)["similarity"]
            labels, accepted = pseudo_labels(logits, self.threshold, self.temperature)
            if self.published_threshold:
                accepted = accepted & accepted[..., 1:].any(-1, keepdim=True)
            known = one_hot(episode.support_labels, episode.ways)
            guessed = one_hot(labels, episode.ways) * accepted[..., None]
            member = torch.cat([known, guessed], dim=-2).mT.float()  # (... n s+u)
            share = member / member.sum(-1, keepdim=True)
        axes = episode.support_labels.dim()
        means = {}
        for name, x in prototypes.items():
            clips = torch.cat([support[name], unlabelled[name]], dim=axes - 1)
            means[name] = (share @ clips.flatten(axes)).unflatten(-1, x.shape[axes:])
        return means

    def forward(self, episode: Episode, text: Tensor | None = None, unlabelled: Clips | None = None) -> Scores:
        """Scores of episodes, see :class:`fsar.method.Method`.

        Args:
            episode: clips of one or many episodes.
            text: not read.
            unlabelled: clips ``(... u *)`` of unknown class, in the form of the episode's.
        """
        if unlabelled is None:
            return super().forward(episode, text)
        none = self.no_text(episode.class_names)
        support, query, others = (
            self.query_parts(self.features_of(as_clips(clips, "unlabelled")))
            for clips in (episode.support, episode.query, unlabelled)
        )
        return self.checked(self.score(support, query, episode, none, others), episode)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        losses = super().loss(scores, episode)
        if not isinstance(scores, CoherentScores) or scores.coherence is None:
            return losses
        coherence = scores.coherence.mean()
        losses = {"few_shot_loss": losses["loss"], **losses, "coherence_loss": coherence}
        losses["loss"] = losses["loss"] + self.coherence_weight * coherence
        return losses


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state``) under the names of :class:`HyRSMPlusPlus`.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    expected = "HyRSM++: temporal_atte_before.*, temporal_atte.*, layer2.*, classification_layer.* and backbone.*"
    return linear_join(rename_released(state, {**RELATION_NAMES, **RESNET_NAMES}, expected))
