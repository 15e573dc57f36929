"""TRX: tuples of frames of the query, each compared with what attention gathers for it from a class's tuples.

Perrett et al. 2021, "Temporal-Relational CrossTransformers for Few-Shot Action Recognition",
https://arxiv.org/abs/2101.06184; released code https://github.com/tobyperrett/trx. The matching itself is
:class:`fsar.alignment.TRX`; here it is trained with its encoder, and evaluated with the tuples of every video projected
once. For frame features f (t d) and every cardinality ω::

    τ_m = [f_i1 + p_i1; ...; f_iω + p_iω],  i1 < ... < iω        M = C(t, ω) tuples, p the sinusoids times 0.1
    K = LN(W_k τ + b_k),  V = W_v τ + b_v                        (M D)
    logit_c = mean_ω -1/M Σ_m |V_m - Σ_s softmax_s(K_m · K_s / √D) V_s|²,  s over the tuples of all shots of c
    loss    = Σ_q CE(logits)                                     a sum over the queries, not their mean

The release divides the loss by 16 and adds up the gradients of 16 tasks; a trainer that takes the mean over 16
accumulated tasks does the same. Its ``norm_v`` (a norm of the values that it makes and never uses) is not made here.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.per_query.cross_tuple import TRX as TupleMatching
from fsar.encoders.frame import FrameEncoder
from fsar.functional import RESNET_NAMES, cross_entropy, rename_released
from fsar.method import Method, Parts, Scores
from fsar.shots import shot_groups


class TRX(Method):
    """TRX.

    Args:
        encoder: any frame encoder. The paper's is a ResNet-50 trained on ImageNet, all of it trained on.
        cardinalities: frames in a tuple, one attention for each; clips must have as many frames as the largest.
        width: D, channels of keys and values.
        dropout: on the frames with their positions, while training.
        queries_per_chunk: see :class:`fsar.alignment.TRX`.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to
            encoders with BatchNorm.

    >>> TRX(encoder, width=8).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False
    same_in_both_roles = True

    def __init__(
        self,
        encoder: FrameEncoder,
        cardinalities: Sequence[int] = (2, 3),
        width: int = 1152,
        dropout: float = 0.1,
        queries_per_chunk: int | None = None,
        separate_passes: bool = False,
    ) -> None:
        super().__init__(encoder)
        self.matching = TupleMatching(encoder.channels, cardinalities, width, dropout, queries_per_chunk)
        self.separate_passes = separate_passes

    def query_parts(self, features: Features) -> Parts:
        """Keys and values of the tuples, ``(... m D)`` of every cardinality."""
        return self.matching.project(features["frames"])

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        shots = {name: shot_groups(x, episode.support_labels, episode.ways) for name, x in support.items()}
        logits = self.matching.match(query, shots)
        return Scores(logits, logits)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """The sum over an episode's queries, averaged over episodes."""
        return {"loss": cross_entropy(scores.few_shot, episode.query_labels) * episode.query_labels.shape[-1]}


RELEASED_NAMES: dict[str, str | None] = {
    r"transformers\.\d+\.(pe\.pe$|norm_v\.|tuples\.)": None,
    r"transformers\.": "matching.transformers.",
    **RESNET_NAMES,
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state_dict``) under the names of :class:`TRX` with a torchvision
    ResNet; the positions, which are computed, and the unused norm of the values are left out.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    return rename_released(state, RELEASED_NAMES, "TRX: transformers.* and resnet.*")
