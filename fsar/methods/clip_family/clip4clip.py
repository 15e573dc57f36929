"""CLIP4Clip's video-text similarities, and the metrics of video-text retrieval.

Luo et al. 2021, "CLIP4Clip: An Empirical Study of CLIP for End to End Video Clip Retrieval",
https://arxiv.org/abs/2104.08860, section 3.3; https://github.com/ArrowLuo/CLIP4Clip. The loose heads make a clip one
vector, ``exp(logit_scale) cos(text, pool(head(v)))``, the tight one looks at every pair. In an episode the clip is
compared with the class texts, or with the mean of the support clips of a class. The release freezes layers by a string
test that is inverted for some names, and gathers over processes without gradient: neither is copied.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Features
from episodes.episode import Task
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy
from fsar.method import Parts, Scores
from fsar.methods.clip_family.pooled import PooledMethod
from fsar.objectives import both_directions
from fsar.shots import shot_mean
from fsar.temporal.sequence import SequenceLSTM, SequenceTransformer, TightTransformer, pool_frames
from fsar.text import TextBank


class Clip4Clip(PooledMethod):
    """CLIP4Clip in an episode.

    Args:
        encoder: an image-text encoder.
        head: over the frames: "mean" (no parameters), "lstm", "transformer", or "tight", which is slow and the paper's
            worst.
        against: the query is compared with class texts, or with prototypes of the support clips (not for "tight").
        texts: what is said about a class; the encoder's own templates when not given.
        depth: blocks of the transformers.
        init_from_text: start "transformer" from the first text blocks and the positions of the encoder, as the paper
            does; needs a text tower as wide as the features.
        temperature: initial factor of the cosine, learned as its logarithm and at most 100.

    >>> Clip4Clip(encoder, head="mean").eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        head: Literal["mean", "lstm", "transformer", "tight"] = "transformer",
        against: Literal["text", "support"] = "text",
        texts: TextBank | None = None,
        depth: int = 4,
        init_from_text: bool = True,
        temperature: float = 100.0,
    ) -> None:
        super().__init__(encoder, texts)
        if head == "tight" and against == "support":
            raise ValueError("head='tight' joins a clip with a text: use against='text', or a loose head.")
        self.head: nn.Module | None = None
        if head == "lstm":
            self.head = SequenceLSTM(encoder.channels)
        elif head == "transformer":
            self.head = SequenceTransformer(encoder.channels, depth)
            if init_from_text:
                self.head.start_from(encoder.require_text().tower)
        elif head == "tight":
            self.head = TightTransformer(encoder.channels, depth)
        self.against = against
        self.averages_shots = True
        self.logit_scale = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=head != "tight")

    @property
    def temperature(self) -> Tensor:
        """Factor of the cosine, at most 100."""
        return self.logit_scale.exp().clamp(max=100)

    def query_parts(self, features: Features) -> Parts:
        if isinstance(self.head, TightTransformer):
            return {"frames": features["frames"]}
        frames = features["frames"]
        return {"pooled": pool_frames(frames if self.head is None else self.head(frames))}

    def similarity(self, clips: Parts, text: Tensor) -> Tensor:
        """Logits of clips ``(... v *)`` against texts ``(... c d)`` -> ``(... v c)``."""
        if isinstance(self.head, TightTransformer):
            return self.head(text, clips["frames"])
        return self.temperature * clips["pooled"] @ normalize(text, dim=-1).mT

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        if self.against == "support":
            prototypes = shot_mean(support["pooled"], episode.support_labels, episode.ways)
            few_shot = self.similarity(query, prototypes)
        else:
            few_shot = self.similarity(query, text[episode.classes])
        if not self.training or self.against == "support":
            return Scores(few_shot, few_shot)
        axis = episode.support_labels.dim() - 1
        clips = {name: torch.cat([support[name], query[name]], axis) for name in query}
        return Scores(few_shot, few_shot, self.similarity(clips, text.expand(*episode.classes.shape[:-1], -1, -1)))

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """The symmetric contrast of the episode's clips, supports first, with its own class texts; against prototypes
        the cross-entropy of the queries."""
        if scores.class_logits is None:
            return {"loss": cross_entropy(scores.few_shot, episode.query_labels)}
        labels = episode.clip_labels[..., None]
        index = episode.classes[..., None, :].expand(*labels.shape[:-1], -1)
        positive = labels == torch.arange(episode.ways, device=labels.device)
        return {"loss": both_directions(scores.class_logits.gather(-1, index), positive)}


class Retrieval(NamedTuple):
    """How well queries find what belongs to them: recalls in 0..1, and the median of the ranks, from 1."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float


def retrieval(similarity: Tensor, relevant: Tensor) -> Retrieval:
    """R@1, R@5, R@10 and MdR; for the other direction hand over both transposed.

    Args:
        similarity: ``(a b)`` of ``a`` queries with ``b`` candidates.
        relevant: ``(a b)`` bool; with several relevant candidates, as in a labelled set, the best placed one counts.

    Raises:
        ValueError: for other shapes, or a query without any relevant candidate.
    """
    ranks = first_ranks(similarity, relevant).double()
    at_1, at_5, at_10 = (float((ranks <= k).double().mean()) for k in (1, 5, 10))
    return Retrieval(at_1, at_5, at_10, float(ranks.quantile(0.5)))


def first_ranks(similarity: Tensor, relevant: Tensor) -> Tensor:
    """``(a)`` rank from 1 of the best placed relevant candidate; candidates that tie with it are placed before it."""
    if similarity.dim() != 2 or similarity.shape != relevant.shape:
        raise ValueError(
            f"similarity and relevant must both be (a b), found {tuple(similarity.shape)} and {tuple(relevant.shape)}."
        )
    if not bool(relevant.any(-1).all()):
        raise ValueError("every query needs at least one relevant candidate; leave the others out.")
    best = similarity.masked_fill(~relevant, -torch.inf).amax(-1, keepdim=True)
    return 1 + ((similarity >= best) & ~relevant).sum(-1)
