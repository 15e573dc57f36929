"""HyRSM: frames see their clip and clips see each other, then two sets of frames are compared without order.

Wang et al. 2022, "Hybrid Relation Guided Set Matching for Few-shot Action Recognition",
https://arxiv.org/abs/2204.13423; released code https://github.com/alibaba-mmai-research/HyRSM, whose numbers this file
has. For frame features f (t d) of every clip::

    z           WithinClip(f √(d/A) + B PE)                              (t d), section 3.2, intra-relation
    r           AcrossClips([mean_t z of the supports; mean_t z of the query])      (s+1 d), inter-relation
    g           W [z; r of its clip] + b                                 a support differs from query to query
    logits_c    -Bi-MHM(1 - cos(g_c, g_Q))                               section 3.3, equation 6, sums as released
    class       V z + v of every frame, over the training classes
    loss        CE(logits) + class_weight · CE(class)

Clips of a class are averaged in z (``merge: before``, the released 5-shot class) or stay apart among the tokens, and
their costs are averaged (``after``, the released 1-shot class); with one shot both are the same. A query does not see
the other queries, but its logits depend on which classes stand beside each other.
"""

from __future__ import annotations

from torch import Tensor

from fsar.functional import RESNET_NAMES, rename_released
from fsar.methods.vision_only.relation import RELATION_NAMES, RelationMethod, linear_join


class HyRSM(RelationMethod):
    """HyRSM.

    Args:
        encoder: any frame encoder. The paper's is a ResNet-50 trained on ImageNet, all of it trained on.
        alignment: compares a query with the supports that were made for it; the paper's Bi-MHM with the plain cosine
            when not given.
        merge: average the shots of a class "before" clips see each other, or its costs "after".
        class_weight: of the classifier's loss; as released EPIC-Kitchens and SSv2-Full 0.6, Kinetics-100 0.4, HMDB51,
            SSv2-Small and UCF101 0.15. 0 for no classifier.
        train_classes: its outputs, at least as many as the training split has classes.
        position_scale: A; as released 2,048 for Kinetics-100 and EPIC-Kitchens, 10 elsewhere.
        position_weight: B; as released 0.01 for Kinetics-100, 0.05 for EPIC-Kitchens, 1 elsewhere.
        heads: of both attentions.
        queries_per_chunk: queries, of all episodes together, that are compared at a time; by default 32 on a CPU and
            256 elsewhere. A chunk makes about three tensors of ``queries_per_chunk · s · t · d`` numbers: 31 MB for 32
            queries, 5 supports, 8 frames and 2,048 channels.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to
            encoders with BatchNorm.

    >>> HyRSM(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state``) under the names of :class:`HyRSM`.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    expected = "HyRSM: temporal_atte_before.*, temporal_atte.*, layer2.*, classification_layer.* and backbone.*"
    return linear_join(rename_released(state, {**RELATION_NAMES, **RESNET_NAMES}, expected))
