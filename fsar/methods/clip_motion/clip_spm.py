"""CLIP-SPM: CLIP-MEI whose tokens and frames are mixed by gates, told apart by motion alone in training.

"Distinguishing Visually Similar Actions: Prompt-Guided Semantic Prototype Modulation for Few-Shot Action Recognition",
2025; formulas of the released code, https://github.com/hnlxy/CLIP-SPM (Apache-2.0). Everything is as in
:mod:`fsar.methods.clip_motion.clip_mei`, but::

    mod       y = α τ g_t(τ) + x g_v(x),  g = σ(W₂ LeakyReLU(W₁ ·)); the token in front stays as it is
    loss      CE_sum / tasks + 0.001 · ω M                      all distances of tokens and clips are off

and class texts are means over 16 sentences (``templates`` of the encoder).

Differs from the released code as CLIP-MEI does: there anchors and attention see all queries (``published_anchors``),
and ē is the mean over the texts of the queries' true classes and the supports' (``published_text``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.methods.clip_motion.task_anchors import TaskAnchorMethod, rename_tasks
from fsar.temporal.modulation import Gates
from fsar.text import TextBank


class ClipSPM(TaskAnchorMethod):
    """CLIP-SPM.

    Args:
        encoder: an image-text encoder; the paper trains all of its visual tower.
        alignment: compares query and prototype frames; the paper's OTAM in both directions, temperature 0.5, cosine
            with epsilon 0.01, when not given.
        vision_ratio: hidden channels of the frames' gate, a share of ``d``; as released 0.5, UCF101 2.
        text_ratio: of the token's gate; as released 1.5, UCF101 2, SSv2-Full 0.75.
        slope: of the gates' LeakyReLU; as released HMDB51 and SSv2-Small 0.0025, Kinetics-100 0.042, SSv2-Full 0.052,
            UCF101 0.054.
        share: α of the token; as released HMDB51 and SSv2-Small 0.2, UCF101 0.228, SSv2-Full 0.353, Kinetics-100 0.86.
        heads: of both attentions.
        head_width: channels of a head, whatever the encoder's are.
        hidden: width of the feed-forward parts.
        auxiliary_weight: of the motion.
        tasks: see :class:`fsar.methods.ClipMEI`.
        published_anchors: anchors and the attention over clips see all queries of the episode, as released: scores of
            a query then depend on the others.
        published_text: ē is the mean text of the queries' true classes and the supports', as released. No clip of
            unknown class can be named so.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to RN50.
        texts: what is said about a class, such as a pack of descriptions; the encoder's templates when not given.

    >>> ClipSPM(encoder, head_width=8, hidden=32).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment | None = None,
        vision_ratio: float = 0.5,
        text_ratio: float = 1.5,
        slope: float = 0.0025,
        share: float = 0.2,
        heads: int = 8,
        head_width: int = 256,
        hidden: int = 2048,
        auxiliary_weight: float = 0.001,
        tasks: int = 16,
        published_anchors: bool = False,
        published_text: bool = False,
        separate_passes: bool = False,
        texts: TextBank | None = None,
    ) -> None:
        super().__init__(
            encoder,
            alignment,
            Gates(encoder.channels, vision_ratio, text_ratio, slope, share),
            heads,
            head_width,
            hidden,
            auxiliary_weight,
            tasks,
            published_anchors,
            published_text,
            separate_passes,
        )
        self.texts = texts

    def episode_text(self, episode: Task, text: Tensor) -> Tensor:
        if not self.published_text:
            return super().episode_text(episode, text)
        return text[torch.cat([episode.query_classes, episode.support_classes], dim=-1)].mean(-2)


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint under the names of :class:`ClipSPM`.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    expected = "CLIP-SPM: context1.*, context2.*, token_tr.*, gate_*, motion_conv1.*, motion_conv2.* and backbone.*"
    return rename_tasks(state, expected)
