"""D2ST-Adapter as a full method: an adapted image tower alone, no text, matched by Bi-MHM.

Pei, Tan et al., "D2ST-Adapter: Disentangled-and-Deformable Spatio-Temporal Adapter for Few-shot Action Recognition",
https://arxiv.org/abs/2312.01431; released code https://github.com/qizhongtan/D2ST-Adapter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy, over_classes, rename_released
from fsar.method import AlignedMethod, Parts, Scores


class D2ST(AlignedMethod):
    """Prototypes on adapted features, and in training a classifier of all training classes beside them::

        loss = CE(few-shot) + class_weight · CE(W mean_t f + b)      over support and query clips

    Args:
        encoder: ``fsar.encoders.Adapted`` with ``fsar.adapters.D2STAdapter`` and ``project: false``: the paper's
            features are the normalised class token before CLIP's projection.
        alignment: the paper's is ``BiMHM`` with the plain cosine.
        class_weight: of the classifier's loss; as released SSv2-Full 2, SSv2-Small 0.5, HMDB51 2.5, UCF101 and
            Kinetics-100 0.
        train_classes: outputs of the classifier, at least as many as the training split has classes; those beyond are
            never used. Not read when ``class_weight`` is 0.

    >>> from fsar.alignment import BiMHM
    >>> D2ST(encoder, BiMHM()).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False

    def __init__(
        self, encoder: FrameEncoder, alignment: Alignment, class_weight: float = 0.5, train_classes: int = 64
    ) -> None:
        super().__init__(encoder, alignment)
        self.class_weight = class_weight
        self.classifier = nn.Linear(encoder.channels, train_classes) if class_weight else None

    @property
    def released_options(self) -> dict[str, bool]:
        """Whether the classifier of a released file is in use here, see :func:`convert_released`."""
        return {"classifier": self.classifier is not None}

    def query_parts(self, features: Features) -> Parts:
        frames = features["frames"]
        return {"frames": frames, "pooled": frames.mean(-2)} if self.training else {"frames": frames}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        scores = super().score(support, query, episode, text)
        if self.training and self.classifier is not None:
            pooled = torch.cat([support["pooled"], query["pooled"]], dim=-2)
            scores.class_logits = over_classes(self.classifier, pooled, episode)
        return scores

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        if scores.class_logits is None:
            return {"loss": few_shot}
        classes = episode.clip_classes
        by_class = cross_entropy(scores.class_logits, classes)
        loss = few_shot + self.class_weight * by_class
        return {"loss": loss, "few_shot_loss": few_shot, "class_loss": by_class}


ADAPTER = {
    "down": "down",
    "up": "up",
    "pos_embed": "position",
    **{
        f"{path}_{theirs}": ours
        for path, name in (("s", "spatial"), ("t", "temporal"))
        for theirs, ours in (
            ("ln", f"norm_{name}"),
            (r"attn\.conv_offset\.0", f"{name}.offset_conv"),
            (r"attn\.conv_offset\.1\.norm", f"{name}.offset_norm"),
            (r"attn\.conv_offset\.3", f"{name}.offset"),
            (r"attn\.proj_q", f"{name}.query"),
            (r"attn\.proj_k", f"{name}.key"),
            (r"attn\.proj_v", f"{name}.value"),
            (r"attn\.proj_out", f"{name}.out"),
        )
    },
}
MODEL, BLOCK = r"(?:model\.)?", r"transformer\.resblocks\.(\d+)\."
RELEASED_NAMES: dict[str, str | None] = {
    MODEL + r"classification_layer\.": "classifier.",
    MODEL + r"temporal_embedding$": "encoder.visual.frame_positions.weight",
    **{
        MODEL + BLOCK + rf"Adapter\.{theirs}\.": rf"encoder.visual.transformer.resblocks.\1.adapter.{ours}."
        for theirs, ours in ADAPTER.items()
    },
    MODEL + BLOCK + r"(?=(?:ln_[12]|attn|mlp)\.)": r"encoder.visual.transformer.resblocks.\1.block.",
    MODEL + r"(?=(?:class_embedding|positional_embedding)$|(?:conv1|ln_pre|ln_post)\.)": "encoder.visual.",
}


def convert_released(state: dict[str, Tensor], classifier: bool = True) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state``) under the names of :class:`D2ST` with a ViT.

    Args:
        state: names and tensors as their authors saved them.
        classifier: keep the classifier of the training classes.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    expected = "D2ST-Adapter with a ViT: model.transformer.*, the rest of CLIP's tower and classification_layer.*"
    renamed = rename_released(state, RELEASED_NAMES, expected)
    if not classifier:
        renamed = {name: x for name, x in renamed.items() if not name.startswith("classifier.")}
    return {name: _without_ones(name, x) for name, x in renamed.items()}


def _without_ones(name: str, value: Tensor) -> Tensor:
    """In our shape: frame embeddings without the axis of clips, a convolution over 1 x 1 x 1 as a linear layer."""
    if name.endswith("frame_positions.weight"):
        return value.squeeze(0)
    return value.flatten(1) if name.endswith(".offset.weight") else value
