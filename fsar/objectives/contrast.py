"""Symmetric contrast of clips and texts."""

from __future__ import annotations

from torch import Tensor


def video_text_contrast(logits: Tensor, positive: Tensor) -> Tensor:
    """``½ [CE over texts for each clip + CE over clips for each text]``, targets spread evenly over the positives.

    With one positive in every row and column this is CLIP's loss (Radford et al. 2021, https://arxiv.org/abs/2103.00020,
    figure 3), which CLIP4Clip uses; several clips of one class, as in an episode, are no negatives of each other here.
    Clips or texts without any positive are left out of their half.

    Args:
        logits: ``(... v c)``, the temperature included.
        positive: ``(... v c)`` bool.

    Returns:
        ``()``, the mean over clips and the mean over texts, and over leading axes.
    """
    return (_rows(logits, positive) + _rows(logits.mT, positive.mT)) / 2


def _rows(logits: Tensor, positive: Tensor) -> Tensor:
    count = positive.sum(-1)
    share = positive / count.clamp(min=1)[..., None]
    loss = -(share * logits.float().log_softmax(-1)).sum(-1)
    return loss.sum() / (count > 0).sum().clamp(min=1)
