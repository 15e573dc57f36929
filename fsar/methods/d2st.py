"""D2ST-Adapter as a full method: an adapted image tower alone, no text, matched by Bi-MHM.

Pei, Tan et al., "D2ST-Adapter: Disentangled-and-Deformable Spatio-Temporal Adapter for Few-shot Action Recognition",
https://arxiv.org/abs/2312.01431; released code https://github.com/qizhongtan/D2ST-Adapter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy, over_classes
from fsar.method import AlignedMethod, Parts, Scores


class D2ST(AlignedMethod):
    """Prototypes on adapted features, and in training a classifier of all training classes beside them::

        loss = CE(few-shot) + class_weight · CE(W mean_t f + b)      over support and query clips

    Args:
        encoder: ``fsar.encoders.Adapted`` with ``fsar.adapters.D2STAdapter`` and ``project: false``: the paper's
            features are the normalised class token before CLIP's projection.
        alignment: the paper's is ``BiMHM`` with the plain cosine.
        class_weight: of the classifier's loss; as released SSv2-Full 2, SSv2-Small 0.5, HMDB51 2.5, UCF101 and
            Kinetics-100 0.
        train_classes: outputs of the classifier, at least as many as the training split has classes; those beyond are
            never used. Not read when ``class_weight`` is 0.

    >>> from fsar.alignment import BiMHM
    >>> D2ST(encoder, BiMHM()).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False

    def __init__(
        self, encoder: FrameEncoder, alignment: Alignment, class_weight: float = 0.5, train_classes: int = 64
    ) -> None:
        super().__init__(encoder, alignment)
        self.class_weight = class_weight
        self.classifier = nn.Linear(encoder.channels, train_classes) if class_weight else None

    def query_parts(self, features: Features) -> Parts:
        frames = features["frames"]
        return {"frames": frames, "pooled": frames.mean(-2)} if self.training else {"frames": frames}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        scores = super().score(support, query, episode, text)
        if self.training and self.classifier is not None:
            pooled = torch.cat([support["pooled"], query["pooled"]], dim=-2)
            scores.class_logits = over_classes(self.classifier, pooled, episode)
        return scores

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        if scores.class_logits is None:
            return {"loss": few_shot}
        classes = episode.clip_classes
        by_class = cross_entropy(scores.class_logits, classes)
        loss = few_shot + self.class_weight * by_class
        return {"loss": loss, "few_shot_loss": few_shot, "class_loss": by_class}
