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

from episodes.episode import Episode
from fsar.alignment.base import Alignment
from fsar.encoders.adapted import Adapted
from fsar.encoders.clip import FrameEncoder
from fsar.method import Method, Parts, Scores, cross_entropy
from fsar.methods.clip_fsar import cosine
from fsar.objectives.multi_positive import both_directions
from fsar.shots import shot_groups, shot_mean
from fsar.temporal.tpcm import TPCM


class MAClip(Method):
    """MA-CLIP.

    Args:
        encoder: ``fsar.encoders.Adapted`` with ``fsar.adapters.MAClipAdapter`` in a frozen ViT; or a CLIP ResNet that
            is tuned in full, with which the paper trains no adapters.
        alignment: compares query and prototype frames; OTAM, Bi-MHM and TRX in the paper.
        text_weight: α of the loss.
        text_share: α of the inference; that of the loss when not given. The paper's values were not recovered: choose
            it on validation classes.
        temperature: τ, of the video-text cosine.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment,
        text_weight: float = 0.5,
        text_share: float | None = None,
        temperature: float = 100.0,
    ) -> None:
        super().__init__(encoder)
        self.text_conditioned = isinstance(encoder, Adapted) and encoder.reads_text
        self.alignment = alignment
        self.averages_shots = not alignment.merges_shots
        self.tpcm = TPCM(encoder.channels)
        self.text_weight = text_weight
        self.text_share = text_weight if text_share is None else text_share
        self.temperature = temperature

    def query_parts(self, features: Tensor) -> Parts:
        return {"frames": self.tpcm(features), "pooled": features.mean(-2)}

    def support_parts(self, features: Tensor, text: Tensor | None) -> Parts:
        assert text is not None
        return {"frames": self.tpcm(features, text), "pooled": features.mean(-2)}

    def compared(self, support: Parts, query: Parts, episode: Episode, text: Tensor | None) -> tuple[Tensor, Tensor]:
        merge_shots = shot_groups if self.alignment.merges_shots else shot_mean
        return query["frames"], merge_shots(support["frames"], episode.support_labels, episode.ways)

    def score(self, support: Parts, query: Parts, episode: Episode, text: Tensor | None) -> Scores:
        assert text is not None
        few_shot = self.alignment(*self.compared(support, query, episode, text))  # (... q n)
        class_text = text[episode.classes]  # (... n d)
        if self.training:
            pooled = torch.cat([support["pooled"], query["pooled"]], dim=-2)
            return Scores(few_shot, few_shot, self.temperature * cosine(pooled, class_text))
        by_text = (self.temperature * cosine(query["pooled"], class_text)).softmax(-1)
        mixed = self.text_share * by_text + (1 - self.text_share) * few_shot.softmax(-1)
        return Scores(mixed, few_shot, normalised=True)

    def loss(self, scores: Scores, episode: Episode) -> dict[str, Tensor]:
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
