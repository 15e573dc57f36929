"""CLIP-CPM²C: frames and their motion are shown the class text, or a learned token where the class is unknown.

Guo et al. 2023, "Consistency Prototype Module and Motion Compensation for Few-Shot Action Recognition",
https://arxiv.org/abs/2312.01083. The authors' own code was not found; the formulas are those of the two copies in
https://github.com/D-XH/CLIP-MEI (plain) and https://github.com/hnlxy/CLIP-SPM (``gated``). With x the frame features of
a clip, m their motion (:mod:`fsar.temporal.frame_motion`), e the text of a class, κ and κ_m learned tokens and mod of
:mod:`fsar.temporal.modulation`::

    support       S = mod(x_s, e),   S_m = mod(m_s, e)           a class's clip is the mean of its shots
    query         Q = mod(x_q, κ),   Q_m = mod(m_q, κ_m)
    logits_c      -(a OTAM(Q, S̄_c) + b OTAM(Q_m, S̄_m,c))         the tokens in front are left out
    class         κ_s cos_ε(mean_t x, e_C) over all classes of the split, supports first
    consistency   Σ over both streams, weighted a and b:
                  ‖mod(x_q, e of its class) - mod(x_q, κ)‖² + ‖mod(x_s, e) - mod(x_s, κ)‖²      with the tokens in front
    loss          [½ CE_sum(class) + CE_sum(logits)] / tasks + 0.001 · consistency

‖·‖² is summed over a clip's tokens and channels and averaged over clips. A query does not see the other queries.

Differs from the released code: neither the distance of tokens, whose weight is 0 there, nor the gated copy's prompt
networks, Transformer and positions, which it makes and never uses, are here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.alignment.otam import OTAM
from fsar.encoders.frame import FrameEncoder
from fsar.functional import CLIP_TOWER_NAMES, cosine, cross_entropy, rename_released
from fsar.method import AlignedMethod, Parts, Scores
from fsar.temporal.frame_motion import FrameMotion, ScaledMotion
from fsar.temporal.modulation import MODULATION_NAMES, Gates, Modulation, squared_distance
from fsar.text import TextBank


@dataclass
class ConsistentScores(Scores):
    """Scores with, in training, how far clips with their text are from the same with the learned token."""

    consistency: Tensor | None = None


class ClipCPM2C(AlignedMethod):
    """CLIP-CPM²C.

    Args:
        encoder: an image-text encoder; all of its visual tower is trained in the copies.
        alignment: compares query and prototype frames; the paper's OTAM in both directions, temperature 0.5, cosine
            with epsilon 0.01, when not given.
        frames_weight: a, of the frames.
        motion_weight: b, of the motion; 0, as for UCF101, leaves the motion out.
        class_weight: of the video-text loss.
        consistency_weight: of the consistency.
        tasks: what the summed cross-entropies are divided by. Released code adds up the gradients of 16 tasks; with
            ``accumulate_grad_batches: 16``, which averages them, tasks 1 and 16 times the consistency weight are that.
        epsilon: added to the product of norms in the video-text cosine.
        scale_init: first value of its learned factor κ_s.
        heads: of the attention.
        hidden: width of its feed-forward part.
        gated: token and frames are mixed by gates, and the motion is of three scales, as in CLIP-SPM's repository.
        vision_ratio: hidden channels of the frames' gate, a share of ``d``; ``gated`` alone, as are the next four.
        text_ratio: of the token's gate.
        slope: of the gates' LeakyReLU.
        share: α of the token.
        motion_share: r, of the three scales.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to RN50.
        texts: what is said about a class, such as a pack of descriptions; the encoder's templates when not given.

    >>> ClipCPM2C(encoder, hidden=32).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    refinable = True

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment | None = None,
        frames_weight: float = 1.0,
        motion_weight: float = 1.0,
        class_weight: float = 0.5,
        consistency_weight: float = 0.001,
        tasks: int = 16,
        epsilon: float = 0.01,
        scale_init: float = 1.0,
        heads: int = 8,
        hidden: int = 2048,
        gated: bool = False,
        vision_ratio: float = 0.5,
        text_ratio: float = 1.5,
        slope: float = 0.0025,
        share: float = 0.2,
        motion_share: float = 0.5,
        separate_passes: bool = False,
        texts: TextBank | None = None,
    ) -> None:
        super().__init__(encoder, OTAM() if alignment is None else alignment)
        self.texts = texts
        d = encoder.channels
        gates = Gates(d, vision_ratio, text_ratio, slope, share) if gated else None
        self.modulation = Modulation(d, heads, hidden=hidden, gates=gates)
        self.motion = ScaledMotion(d, motion_share) if gated else FrameMotion(d)
        self.token, self.motion_token = (nn.Parameter(torch.randn(d)) for _ in range(2))
        self.scale = nn.Parameter(torch.tensor(float(scale_init)))
        self.weights = {"frames": frames_weight, **({"motion": motion_weight} if motion_weight else {})}
        self.class_weight, self.consistency_weight, self.tasks = class_weight, consistency_weight, tasks
        self.epsilon = epsilon
        self.separate_passes = separate_passes

    @property
    def tokens(self) -> dict[str, Tensor]:
        """The learned token of each stream."""
        return {"frames": self.token, "motion": self.motion_token}

    def streams(self, features: Tensor) -> Parts:
        """Frames ``(... t d)`` and their motion ``(... t-1 d)``."""
        return {name: features if name == "frames" else self.motion(features) for name in self.weights}

    def modulate(self, features: Tensor, tokens: dict[str, Tensor]) -> Parts:
        """Changed frames of each stream; in training also the streams with their token in front, and the features."""
        parts: Parts = {"features": features} if self.training else {}
        for name, stream in self.streams(features).items():
            front, parts[name] = self.modulation(stream, tokens[name])
            if self.training:
                parts[f"{name}_tokens"] = torch.cat([front.unsqueeze(-2), parts[name]], dim=-2)
        return parts

    def query_parts(self, features: Features) -> Parts:
        return self.modulate(features["frames"], self.tokens)

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return self.modulate(features["frames"], dict.fromkeys(self.weights, text))

    def match(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Tensor:
        """``-(a OTAM(frames) + b OTAM(motion))``, ``(... q n)``."""
        similarity = torch.zeros((), device=episode.classes.device)
        for name, weight in self.weights.items():
            stream = {"frames": support[name]}, {"frames": query[name]}
            similarity = similarity + weight * super().match(*stream, episode, text)
        return similarity

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> ConsistentScores:
        logits = self.match(support, query, episode, text)
        if not self.training:
            return ConsistentScores(logits, logits)
        pooled = torch.cat([x["features"].mean(-2) for x in (support, query)], dim=-2)  # (... s+q d)
        class_logits = self.scale * cosine(pooled, text, self.epsilon)
        others = self.tokens, dict.fromkeys(self.weights, text[episode.query_classes])
        consistency = sum(self.consistency(*pair) for pair in zip((support, query), others, strict=True))
        return ConsistentScores(logits, logits, class_logits, torch.as_tensor(consistency))

    def consistency(self, parts: Parts, tokens: dict[str, Tensor]) -> Tensor:
        """How far clips are from themselves with other tokens, over both streams."""
        axes = parts["features"].dim() - 2
        distance = torch.zeros((), device=parts["features"].device)
        for name, stream in self.streams(parts["features"]).items():
            front, frames = self.modulation(stream, tokens[name])
            other = torch.cat([front.unsqueeze(-2), frames], dim=-2)
            distance = distance + self.weights[name] * squared_distance(parts[f"{name}_tokens"], other, axes)
        return distance

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        labels, classes = episode.query_labels, episode.clip_classes
        few_shot = cross_entropy(scores.few_shot, labels) * labels.shape[-1]  # summed over the queries of an episode
        if scores.class_logits is None or not isinstance(scores, ConsistentScores) or scores.consistency is None:
            return {"loss": few_shot / self.tasks}
        by_class = cross_entropy(scores.class_logits, classes) * classes.shape[-1]
        loss = (self.class_weight * by_class + few_shot) / self.tasks + self.consistency_weight * scores.consistency
        parts = {"few_shot_loss": few_shot, "class_loss": by_class, "consistency": scores.consistency}
        return {"loss": loss, **parts}


RELEASED_NAMES: dict[str, str | None] = {
    **MODULATION_NAMES,
    r"(?:module\.)?class_token$": "token",
    r"(?:module\.)?class_token_motion$": "motion_token",
    r"(?:module\.)?motion_conv1\.": "motion.first.",
    r"(?:module\.)?motion_conv2\.": "motion.second.",
    r"(?:module\.)?motion_conv1_1\.": "motion.scales.0.",
    r"(?:module\.)?motion_conv1_3\.": "motion.scales.1.",
    r"(?:module\.)?motion_conv1_5\.": "motion.scales.2.",
    r"(?:module\.)?scale_conv\.": "motion.join.",
    r"(?:module\.)?scale$": "scale",
    r"(?:module\.)?(?:frame_position_embeddings|transformer|meta_net|meta_net_2)\.": None,  # made and never used
    **CLIP_TOWER_NAMES,
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a checkpoint of either copy under the names of :class:`ClipCPM2C`.

    Raises:
        ValueError: for a name that neither copy has.
    """
    expected = "CLIP-CPM²C: context2.*, class_token, class_token_motion, motion_conv*, scale and backbone.*"
    renamed = rename_released(state, RELEASED_NAMES, expected)
    return {name: x.reshape(SHAPES[name]) if name in SHAPES else x for name, x in renamed.items()}


SHAPES: dict[str, tuple[int, ...]] = {"token": (-1,), "motion_token": (-1,), "scale": ()}
"""Of weights that the copies keep with axes of length 1."""
