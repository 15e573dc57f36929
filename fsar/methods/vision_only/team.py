"""TEAM: learned pattern tokens read every clip, and classes are told apart by what they are and what they are not.

Lee et al., "Temporal Alignment-Free Video Matching for Few-shot Action Recognition", https://arxiv.org/abs/2504.05956
(CVPR 2025), in the form of the released code, https://github.com/leesb7426/TEAM. No frames are aligned.

With f the frame features ``(t d)`` of a clip, a class's clip the mean of its shots' f, and ``D_pos``, ``D_neg`` the two
distances of :class:`fsar.alignment.PatternTokens`, where the formulas stand::

    logits   -(D_pos + D_neg)                                  (q n)
    loss     CE(-D_pos) + CE(-D_neg)                           sections 3.3 and 3.4

Differs from the released code: one class alone is scored by ``D_pos``; there it is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.per_query.pattern_tokens import PatternTokens
from fsar.encoders.frame import FrameEncoder
from fsar.functional import RESNET_NAMES, cross_entropy, rename_released
from fsar.method import Method, Parts, Scores
from fsar.shots import shot_mean


@dataclass
class TEAMScores(Scores):
    """Scores with the logits of both distances, ``(... q n)`` each, as the loss needs them."""

    positive: Tensor | None = None
    negative: Tensor | None = None


class TEAM(Method):
    """TEAM.

    Of each video the evaluation keeps the tokens P⁺ and P⁻ in the role of a query, ``2 M d`` numbers (1 MB at M = 60
    and 2,048 channels), and its frames in the role of a support. An episode then costs the adaptation of its classes
    alone, ``4 n² M d²`` multiplications; what they need at a time is a few times ``n² M d`` numbers (12 MB there).

    Args:
        encoder: turns frames into features; the paper trains all of an ImageNet ResNet-50, or of a ViT.
        patterns: M (paper: 60 for ResNet-50 on HMDB51 in 1-shot, 50 for ViT).
        dropout: on the attention of the tokens to the frames, while training.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to
            encoders with BatchNorm.

    >>> TEAM(encoder, patterns=4).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False
    averages_shots = True

    def __init__(
        self, encoder: FrameEncoder, patterns: int = 60, dropout: float = 0.1, separate_passes: bool = False
    ) -> None:
        super().__init__(encoder)
        self.tokens = PatternTokens(encoder.channels, patterns, dropout)
        self.separate_passes = separate_passes

    def query_parts(self, features: Features) -> Parts:
        """Tokens ``(... M d)`` of both kinds."""
        positive, negative = self.tokens.query_tokens(features["frames"])
        return {"positive": positive, "negative": negative}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return {"frames": features["frames"]}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> TEAMScores:
        prototypes = shot_mean(support["frames"], episode.support_labels, episode.ways)
        positive, negative = self.tokens.compare(query["positive"], query["negative"], prototypes)
        logits = -(positive + negative)
        return TEAMScores(logits, logits, positive=-positive, negative=-negative)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        assert isinstance(scores, TEAMScores)
        assert scores.positive is not None
        assert scores.negative is not None
        positive, negative = (cross_entropy(x, episode.query_labels) for x in (scores.positive, scores.negative))
        return {"loss": positive + negative, "positive_loss": positive, "negative_loss": negative}


RELEASED_NAMES: dict[str, str | None] = {
    r"DPM\.AP$": "tokens.patterns",
    r"DPM\.pe\.": None,  # sines that we compute
    r"DPM\.ln\.": "tokens.norm.",
    r"DPM\.mlp\.inp_fc\.": "tokens.mlp.0.",
    r"DPM\.mlp\.out_fc\.": "tokens.mlp.2.",
    **RESNET_NAMES,
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint under the names of :class:`TEAM`.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    renamed = rename_released(state, RELEASED_NAMES, "TEAM: DPM.* and backbone.*")
    return {name: x.squeeze(0) if name == "tokens.patterns" else x for name, x in renamed.items()}
