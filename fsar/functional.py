"""Small functions that papers share; no paper imports from another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from episodes.episode import Task


def cosine(x: Tensor, y: Tensor, epsilon: float = 0.0) -> Tensor:
    """``<x, y> / (|x||y| + epsilon)`` of ``x (... a d)`` with ``y (... b d)`` -> ``(... a b)``; plain at epsilon 0.

    >>> cosine(torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    tensor([[1., 0.]])
    """
    if epsilon == 0:
        return nn.functional.normalize(x, dim=-1) @ nn.functional.normalize(y.to(x.dtype), dim=-1).mT
    norms = x.norm(dim=-1).unsqueeze(-1) * y.norm(dim=-1).unsqueeze(-2)
    return (x @ y.to(x.dtype).mT) / (norms + epsilon)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of ``logits (... n)`` against ``labels (...)``, over every leading axis."""
    return nn.functional.cross_entropy(logits.flatten(0, -2).float(), labels.flatten())


def over_classes(classifier: nn.Linear, pooled: Tensor, episode: Task) -> Tensor:
    """Logits ``(... C)`` of clips ``(... d)`` over the classes of the training split.

    Outputs beyond them stay out of the loss, so that one configuration serves training splits of several sizes.

    Raises:
        ValueError: when the classifier has fewer outputs than the split has classes.
    """
    classes = len(episode.class_names)
    if classifier.out_features < classes:
        raise ValueError(
            f"the method was made for train_classes={classifier.out_features}, but the training split has {classes} "
            f"classes: set --model.train_classes {classes}."
        )
    return classifier(pooled)[..., :classes]


def log_mean(logits: Tensor, dim: int) -> Tensor:
    """``log(mean(softmax(logits)))`` of ``(... n)``, the mean being over an axis ``dim`` that is not the classes'."""
    return logits.log_softmax(-1).logsumexp(dim) - math.log(logits.shape[dim])


def log_mixture(first: Tensor, second: Tensor, share: float) -> Tensor:
    """``log(share · softmax(first) + (1 - share) · softmax(second))`` of logits ``(... n)``, share in 0..1.

    Added as logarithms, so that a probability too small for its type is not lost.
    """
    weight, rest = torch.tensor([share, 1 - share], dtype=torch.float64).log().tolist()
    return torch.logaddexp(first.log_softmax(-1) + weight, second.log_softmax(-1) + rest)


RESNET_NAMES = {
    rf"(?:head\.)?(?:resnet|backbone)\.(?:module\.)?{place}\.": f"encoder.visual.{name}."
    for place, name in ((0, "conv1"), (1, "bn1"), (4, "layer1"), (5, "layer2"), (6, "layer3"), (7, "layer4"))
}
"""A ResNet that released code cut up into a sequence of its children, in torchvision's names; for
:func:`rename_released`."""

CLIP_TOWER_NAMES = {r"(?:module\.)?(?:head\.)?backbone\.(?:module\.)?": "encoder.visual."}
"""CLIP's visual tower, which released code calls a backbone, in CLIP-FSAR's code base of a head; likewise."""


def rename_released(state: Mapping[str, Tensor], names: Mapping[str, str | None], expected: str) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint of a method under our names.

    Args:
        state: names and tensors as their authors saved them.
        names: how a released name begins, as a regular expression, and what stands there in ours; None for what we
            compute or never use. The first that fits counts.
        expected: whose checkpoint it is and what its names look like, for the message.

    Raises:
        ValueError: for a name that the released model does not have.

    Examples:
        >>> state = {"mlp.a": torch.zeros(1), "pe": torch.zeros(1)}
        >>> sorted(rename_released(state, {r"mlp\\.": "head.", "pe": None}, "X: mlp.*, pe"))
        ['head.a']
    """
    renamed = {}
    for name, value in state.items():
        pattern = next((pattern for pattern in names if re.match(pattern, name)), None)
        if pattern is None:
            raise ValueError(f"{name!r} is not a weight of a released checkpoint of {expected}.")
        ours = names[pattern]
        if ours is not None:
            renamed[re.sub(f"^{pattern}", ours, name)] = value
    return renamed


def focal_loss(logits: Tensor, target: Tensor, mask: Tensor | None = None, alpha: float = 0.25) -> Tensor:
    """GLIP's ``Σ α_y (1 - p_y)² CE(logit, y)`` of a map, γ = 2; divide it by the number of positives.

    Args:
        logits: ``(... p w)``.
        target: ``(... p w)`` of 0 and 1.
        mask: ``(... w)`` true on real words; the others count nothing.
        alpha: weight of the positives, ``1 - alpha`` that of the negatives; negative for none.
    """
    if mask is not None:
        logits = logits.movedim(-1, -2)[mask > 0]
        target = target.movedim(-1, -2)[mask > 0]
    target = target.to(logits.dtype)
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    loss = entropy * (1 - (p * target + (1 - p) * (1 - target))) ** 2
    if alpha >= 0:
        loss = (alpha * target + (1 - alpha) * (1 - target)) * loss
    return loss.sum()
