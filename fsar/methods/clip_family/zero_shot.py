"""Zero-shot CLIP: the class texts alone name the clip; the support clips are not looked at.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
https://arxiv.org/abs/2103.00020, section 3.1. Averaging probabilities instead of text embeddings is ActionCLIP's test
(Wang et al. 2021, https://arxiv.org/abs/2109.08472).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from episodes.clips import Features
from episodes.episode import Task
from fsar.encoders.frame import FrameEncoder
from fsar.functional import log_mean
from fsar.method import Parts, Scores
from fsar.methods.clip_family.pooled import PooledMethod, pool
from fsar.text import TextBank


class ZeroShot(PooledMethod):
    """``logits_c = temperature · cos(clip, text_c)``.

    Args:
        encoder: an image-text encoder.
        temperature: factor of the cosine; 100 is where CLIP's learned factor ends.
        texts: what is said about a class; the encoder's own templates when not given.
        ensemble: average the texts of a class as unit vectors (CLIP), or the probabilities over the classes that each
            template gives (ActionCLIP); the logits are then log probabilities.
        pooling: a clip is the unit vector of its mean frame, or its logits are the mean of its frames' logits.

    >>> ZeroShot(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        temperature: float = 100.0,
        texts: TextBank | None = None,
        ensemble: Literal["embedding", "probability"] = "embedding",
        pooling: Literal["mean_then_norm", "logit_mean"] = "mean_then_norm",
    ) -> None:
        super().__init__(encoder, texts)
        self.temperature = temperature
        self.ensemble = ensemble
        self.pooling = pooling

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C d)`` unit vectors, or ``(C m d)`` of each of ``m`` templates when probabilities are averaged."""
        if self.ensemble == "embedding":
            return super().class_text(names)
        encoder = self.encoder.require_text()
        if self.texts is None:
            return normalize(encoder.per_template(names), dim=-1)
        features, mask = self.texts.features(encoder, names)
        if not bool(mask.all()):
            raise ValueError(
                "ensemble='probability' compares the classes under each text in turn and needs as many for each class, "
                f"found {sorted(set(mask.sum(-1).tolist()))}. Use ensemble='embedding', or texts.kinds [template]."
            )
        return normalize(features, dim=-1)

    def query_parts(self, features: Features) -> Parts:
        if self.pooling == "mean_then_norm":
            return {"pooled": pool(features["frames"])}
        return {"pooled": normalize(features["frames"], dim=-1).mean(-2)}  # the mean of logits is linear in the frames

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return {}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        class_text = text[episode.classes]  # (... n d) or (... n m d)
        if self.ensemble == "embedding":
            logits = self.temperature * query["pooled"] @ class_text.mT
        else:
            each = self.temperature * query["pooled"].unsqueeze(-3) @ class_text.movedim(-2, -3).mT  # (... m q n)
            logits = log_mean(each, -3)
        return Scores(logits, logits)
