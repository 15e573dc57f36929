"""MA-CLIP (also MA-FSAR): adapters that show a frozen CLIP its class text and time, text-guided prototypes.

Xing et al., "Multimodal Adaptation of CLIP for Few-Shot Action Recognition", https://arxiv.org/abs/2308.01532 (v2:
Pattern Recognition 2025). No official code was found: what the paper leaves open is an argument here.

With f the adapted frame features (of a support clip together with its class text), e the text of a class::

    few-shot    logits_c = -D(TPCM(f_Q), mean over shots of TPCM(f_S, e))
    contrast    KL(τ cos(mean_t f, e_c)) in both directions over the episode's classes, for support and query clips
    loss        α ½ (contrast_S + contrast_Q) + (1 - α) CE(few-shot)
    inference   α softmax(τ cos(mean_t f_Q, e_c)) + (1 - α) softmax(few-shot)       a sum; CLIP-FSAR multiplies
"""

from __future__ import annotations

import torch
from torch import Tensor

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cosine, cross_entropy, log_mixture
from fsar.method import AlignedMethod, Parts, Scores
from fsar.objectives.multi_positive import both_directions
from fsar.temporal.tpcm import TPCM
from fsar.text import TextBank


class MAClip(AlignedMethod):
    """MA-CLIP.

    Args:
        encoder: ``fsar.encoders.Adapted`` with ``fsar.adapters.MAClipAdapter`` in a frozen ViT; or a CLIP ResNet that
            is tuned in full, with which the paper trains no adapters.
        alignment: compares query and prototype frames; OTAM, Bi-MHM and TRX in the paper.
        text_weight: α of the loss.
        text_share: α of the inference; that of the loss when not given. The paper's values were not recovered: choose
            it on validation classes.
        temperature: τ, of the video-text cosine.
        texts: what is said about a class, such as a pack of descriptions; the encoder's templates when not given.

    >>> from fsar.alignment import OTAM
    >>> MAClip(encoder, OTAM()).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    refinable = True

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment,
        text_weight: float = 0.5,
        text_share: float | None = None,
        temperature: float = 100.0,
        texts: TextBank | None = None,
    ) -> None:
        super().__init__(encoder, alignment)
        self.texts = texts
        self.text_conditioned = encoder.reads_text
        self.tpcm = TPCM(encoder.channels)
        self.text_weight = text_weight
        self.text_share = text_weight if text_share is None else text_share
        self.temperature = temperature

    def query_parts(self, features: Features) -> Parts:
        return {"frames": self.tpcm(features["frames"]), "pooled": features["frames"].mean(-2)}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return {"frames": self.tpcm(features["frames"], text), "pooled": features["frames"].mean(-2)}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        few_shot = self.match(support, query, episode, text)  # (... q n)
        class_text = text[episode.classes]  # (... n d)
        if self.training:
            pooled = torch.cat([support["pooled"], query["pooled"]], dim=-2)
            return Scores(few_shot, few_shot, self.temperature * cosine(pooled, class_text))
        by_text = self.temperature * cosine(query["pooled"], class_text)
        return Scores(log_mixture(by_text, few_shot, self.text_share), few_shot)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """``class_logits`` are over the ``n`` classes of the episode here, in training."""
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        if scores.class_logits is None:
            return {"loss": few_shot}
        shots = episode.support_labels.shape[-1]
        support, query = scores.class_logits.tensor_split([shots], dim=-2)
        ways = torch.arange(episode.ways, device=support.device)
        contrast = both_directions(support, episode.support_labels[..., None] == ways) / 2
        contrast = contrast + both_directions(query, episode.query_labels[..., None] == ways) / 2
        loss = self.text_weight * contrast + (1 - self.text_weight) * few_shot
        return {"loss": loss, "few_shot_loss": few_shot, "video_text_loss": contrast}
