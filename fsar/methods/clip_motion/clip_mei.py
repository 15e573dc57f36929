"""CLIP-MEI: motion enhances a clip, and a token made of class texts interacts with it; anchors tie the task together.

Deng et al. 2025, Knowledge-Based Systems, https://doi.org/10.1016/j.knosys.2025.113965; formulas of the released code,
https://github.com/D-XH/CLIP-MEI. With x frame features, e the text of a class, m motion
(:mod:`fsar.temporal.frame_motion`), mod of :mod:`fsar.temporal.modulation` and B₂ a second block of attention::

    motion    μ = mean_i m_i;  (μ', x') = mod(x, μ);  M = |mean_i m_i(x') - μ'|², mean over supports + over queries
    token     τ̂ = FFN(ē · mean_{t,d} x) of a query                     ē the mean text of the support's classes
    clips     (e', x_s') = mod(x_s, e);  (τ', x_q') = mod(x_q, τ̂)
    anchors   A_c = mean of the x_s' of a class (n t d);  A = mean_c A_c
              over clips, frame by frame: (Ã_c, x_s'') = B₂([A's; x_s' of all]),  (Ã, x_q'') = B₂([A; x_q'])
    logits    -(½ OTAM(x_q', mean x_s') + OTAM(x_q'', mean x_s'') + OTAM(Ã, Ã_c))
    loss      CE_sum / tasks + 0.001 · ( ½(‖e_q - τ̂‖² + ‖e_q' - τ'‖²) + ‖[e_q'; x_q,e'] - [τ'; x_q']‖² + ω M )

where (e_q', x_q,e') = mod(x_q, text of its class), in training alone, and ω is learned from 1.

Differs from the released code, which is transductive and reads the queries' classes: there A_c is over the supports of
a class **and all queries**, B₂ sees the anchor with all queries at once (``published_anchors``), and ē is the mean over
the **queries' true classes** (``published_text``). With as many queries of each class the second changes nothing; with
others it tells what they are.
"""

from __future__ import annotations

from torch import Tensor

from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.methods.clip_motion.task_anchors import TaskAnchorMethod, rename_tasks
from fsar.temporal.modulation import squared_distance
from fsar.text import TextBank


class ClipMEI(TaskAnchorMethod):
    """CLIP-MEI.

    Args:
        encoder: an image-text encoder; the paper trains all of its visual tower.
        alignment: compares query and prototype frames; the paper's OTAM in both directions, temperature 0.5, cosine
            with epsilon 0.01, when not given.
        heads: of both attentions.
        head_width: channels of a head, whatever the encoder's are.
        hidden: width of the feed-forward parts.
        auxiliary_weight: of consistency, text distance and motion.
        tasks: what the summed cross-entropy is divided by. Released code adds up the gradients of 16 tasks; with
            ``accumulate_grad_batches: 16``, which averages them, tasks 1 and 16 times the auxiliary weight are that.
        published_anchors: anchors and the attention over clips see all queries of the episode, as released: scores of
            a query then depend on the others.
        published_text: ē is the mean text of the queries' true classes, as released. No clip of unknown class can be
            named so.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to RN50.
        texts: what is said about a class, such as a pack of descriptions; the encoder's templates when not given.

    >>> ClipMEI(encoder, head_width=8, hidden=32).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment | None = None,
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
            None,
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
        return text[episode.query_classes].mean(-2)

    def distances(
        self, frames: Tensor, token: Tensor, front: Tensor, changed: Tensor, episode: Task, text: Tensor
    ) -> tuple[Tensor, Tensor]:
        axes = frames.dim() - 2
        true = text[episode.query_classes]  # (... q d)
        true_front, true_changed = self.modulation(frames, true)
        apart = squared_distance(true, token, axes) + squared_distance(true_front, front, axes)
        clips = squared_distance(true_front, front, axes) + squared_distance(true_changed, changed, axes)
        return apart / 2, clips


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint under the names of :class:`ClipMEI`.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    expected = "CLIP-MEI: context1.*, context2.*, token_tr.*, motion_conv1.*, motion_conv2.*, mo_alpha1 and backbone.*"
    return rename_tasks(state, expected)
