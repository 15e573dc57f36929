"""CLIP-FSAR: class text modulates the prototypes, OTAM compares them with the query.

Wang et al., "CLIP-guided Prototype Modulating for Few-shot Action Recognition", https://arxiv.org/abs/2303.02982
(IJCV 2023). Equations follow the released code, https://github.com/alibaba-mmai-research/CLIP-FSAR, whose habits that
published numbers depend on are the defaults here and named options: ``epsilon``, ``scale_init``, ``published_fusion``.

With f the encoder's frame features, e the text of a class, F the temporal Transformer and D the alignment cost::

    query         F(f_Q)                                                  no text
    support       F([f_S; e])[:t], then the mean over shots               merge="after"
                  F([mean f_S; mean e])[:t]                               merge="before"
    few-shot      logits_c = -D(F(f_Q), prototype_c)
    video-text    scale · cos_ε(mean_t f, e_C) over all C training classes, for support and query clips
    loss          CE(few-shot) + video_text_weight · CE(video-text)
    text only     p_T = softmax_c(scale · cos(mean_t f_Q, e_c))
    combined      p_T^β · p_V^(1-β),  p_V = softmax_c((8 - D_c) / 8)
"""

from __future__ import annotations

import re
from typing import Literal

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cosine, cross_entropy
from fsar.method import AlignedMethod, Parts, Scores
from fsar.temporal.transformer import TemporalTransformer
from fsar.text import TextBank

Inference = Literal["few_shot", "text", "combined"]


class ClipFSAR(AlignedMethod):
    """CLIP-FSAR.

    Args:
        encoder: an image-text encoder; the paper fine-tunes all of its visual tower.
        alignment: compares query and prototype frames. The paper's is OTAM in both directions, temperature 0.5,
            cosine cost with epsilon 0.01.
        depth: blocks of the temporal Transformer.
        merge: average the shots of a class after the Transformer, or before it (released 5-shot configurations).
        video_text_weight: weight of the video-text loss (released: HMDB51 1.2, Kinetics-100 and UCF101 1.5, SSv2 3).
        inference: what names a query: the few-shot logits (every released configuration), the text alone, or the
            product of both (the rows marked † in the paper).
        text_exponent: exponent β of the text probability in the combined inference.
        scale_init: initial value of the learned factor of the video-text cosine. CLIP's own 100 is not used.
        epsilon: added to the product of norms in the video-text cosine of the loss.
        published_fusion: divide the cost by the released constant 8 in the combined inference; otherwise by the
            number of frames.
        hidden_norm: normalise before the Transformer's feed-forward part; the released code does not.
        positions: learned positions of the Transformer, 0 for none as released.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to
            encoders with BatchNorm, such as RN50. One pass of both otherwise.
        texts: what is said about a class, such as a pack of descriptions; the encoder's templates when not given.

    >>> from fsar.alignment import OTAM
    >>> ClipFSAR(encoder, OTAM()).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    refinable = True
    text_tokens = 1

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment,
        depth: int = 1,
        merge: Literal["after", "before"] = "after",
        video_text_weight: float = 3.0,
        inference: Inference = "few_shot",
        text_exponent: float = 0.9,
        scale_init: float = 1.0,
        epsilon: float = 0.01,
        published_fusion: bool = True,
        hidden_norm: bool = False,
        positions: int = 0,
        separate_passes: bool = False,
        texts: TextBank | None = None,
    ) -> None:
        if merge == "before" and alignment.merges_shots:
            raise ValueError(
                f"merge='before' averages the shots of a class, but {type(alignment).__name__} compares them one by "
                "one: use merge='after'."
            )
        super().__init__(encoder, alignment)
        self.texts = texts
        self.temporal = TemporalTransformer(encoder.channels, depth, hidden_norm=hidden_norm, positions=positions)
        self.scale = nn.Parameter(torch.tensor(float(scale_init)))
        self.merge = merge
        self.video_text_weight = video_text_weight
        self.inference: Inference = inference
        self.text_exponent = text_exponent
        self.epsilon = epsilon
        self.published_fusion = published_fusion
        self.separate_passes = separate_passes

    def query_parts(self, features: Features) -> Parts:
        frames = features["frames"]
        return {"frames": self.temporal(frames), "pooled": frames.mean(-2)}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        frames = features["frames"]
        return {"frames": self.modulate(frames, text) if self.merge == "after" else frames, "pooled": frames.mean(-2)}

    def modulate(self, features: Tensor, text: Tensor) -> Tensor:
        """``F([f; e])[:t]``: features ``(... t d)`` and text ``(... d)`` -> ``(... t d)``; the text token is last."""
        tokens = torch.cat([features, text.unsqueeze(-2).to(features.dtype)], dim=-2)
        return self.temporal(tokens)[..., :-1, :]

    def compared(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> tuple[Tensor, Tensor]:
        frames, prototypes = super().compared(support, query, episode, text)
        if self.merge == "before":
            prototypes = self.modulate(prototypes, text[episode.classes])
        return frames, prototypes

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        few_shot = self.match(support, query, episode, text)  # (... q n)
        if self.training:
            pooled = torch.cat([support["pooled"], query["pooled"]], dim=-2)  # (... s+q d), raw features
            class_logits = self.scale * cosine(pooled, text, self.epsilon)
            return Scores(few_shot, few_shot, class_logits)
        if self.inference == "few_shot":
            return Scores(few_shot, few_shot)
        return Scores(self.infer(few_shot, query, text[episode.classes]), few_shot)

    def infer(self, few_shot: Tensor, query: Parts, class_text: Tensor) -> Tensor:
        """Logits ``(... q n)`` of the text, or of text and few-shot together; class text is ``(... n d)``."""
        text = (self.scale * cosine(query["pooled"], class_text)).log_softmax(-1)
        if self.inference == "text":
            return text
        unit = 8 if self.published_fusion else query["frames"].shape[-2]
        vision = (1 + few_shot / unit).log_softmax(-1)
        return self.text_exponent * text + (1 - self.text_exponent) * vision

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        if scores.class_logits is None:
            return {"loss": few_shot}
        classes = episode.clip_classes
        video_text = cross_entropy(scores.class_logits, classes)
        loss = few_shot + self.video_text_weight * video_text
        return {"loss": loss, "few_shot_loss": few_shot, "video_text_loss": video_text}


RELEASED_NAMES = {
    r"(?:.*\.)?context2\.layers\.(\d+)\.0\.norm\.": r"temporal.blocks.\1.norm.",
    r"(?:.*\.)?context2\.layers\.(\d+)\.0\.fn\.": r"temporal.blocks.\1.",
    r"(?:.*\.)?context2\.layers\.(\d+)\.1\.net\.0\.": r"temporal.blocks.\1.feed_forward.1.",
    r"(?:.*\.)?context2\.layers\.(\d+)\.1\.net\.3\.": r"temporal.blocks.\1.feed_forward.4.",
    r"(?:.*\.)?scale$": "scale",
    r"(?:.*\.)?head\.backbone\.": "encoder.visual.",
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state``) under the names of :class:`ClipFSAR`.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    converted = {}
    for name, value in state.items():
        for pattern, ours in RELEASED_NAMES.items():
            if re.match(pattern, name):
                converted[re.sub("^" + pattern, ours, name)] = value.squeeze() if name.endswith("scale") else value
                break
        else:
            raise ValueError(
                f"{name!r} is not a weight of a released CLIP-FSAR checkpoint; expected head.context2.*, "
                "head.scale and head.backbone.*."
            )
    return converted
