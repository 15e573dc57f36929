"""Zero-shot CLIP: the class text alone names the clip; the support clips are not looked at.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
https://arxiv.org/abs/2103.00020, section 3.1.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from episodes.episode import Episode
from fsar.clip.encoder import FrameEncoder
from fsar.method import Method, Parts, Scores


class ZeroShot(Method):
    """``logits_c = temperature · cos(mean_t f_Q, text_c)``.

    Args:
        encoder: an image-text encoder.
        temperature: factor of the cosine; 100 is where CLIP's learned factor ends.
    """

    def __init__(self, encoder: FrameEncoder, temperature: float = 100.0) -> None:
        super().__init__(encoder)
        self.temperature = temperature

    def query_parts(self, features: Tensor) -> Parts:
        return {"pooled": normalize(features.mean(-2), dim=-1)}

    def support_parts(self, features: Tensor, text: Tensor | None) -> Parts:
        return {}

    def score(self, support: Parts, query: Parts, episode: Episode, text: Tensor | None) -> Scores:
        assert text is not None
        class_text = normalize(text[episode.classes], dim=-1)  # (... n d)
        logits = self.temperature * query["pooled"] @ class_text.mT
        return Scores(logits, logits)
