"""Videos against texts, softmax in both directions: CLIP's loss, DreamLIP's over several texts, ActionCLIP's.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision" (CLIP),
https://arxiv.org/abs/2103.00020, figure 3, with v, t of unit length::

    S = τ v tᵀ;   loss = ½ [CE(rows of S) + CE(columns of S)],   τ = exp(τ') <= 100

Several clips of a class in the batch are positives of one text, and of a row's or column's positives the target is
uniform (:func:`fsar.objectives.multi_positive_kl`); with one clip a class that is CLIP's loss. Over ``m`` texts of a
class it is the mean of ``m`` such losses, the j-th text of every class at a time: the multi-positive loss of Zheng et
al. 2024, "DreamLIP", https://arxiv.org/abs/2403.17007, equation 3. With a target temperature it is ActionCLIP's
(Wang et al. 2021, https://arxiv.org/abs/2109.08472, section 3.2), 10 as released.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsar.objectives.base import ClipKind, Objective, Step
from fsar.objectives.multi_positive import both_directions
from fsar.text.bank import TextBank
from fsar.text.kinds import check_kinds

LARGEST_SCALE = 100.0
"""CLIP's bound of the learned factor."""


class Scale(nn.Module):
    """The learned factor ``exp(τ')`` of the cosines, at most :data:`LARGEST_SCALE`."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        if not 0 < initial <= LARGEST_SCALE:
            raise ValueError(f"scale must lie in (0, {LARGEST_SCALE:g}], found {initial}.")
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self, cosines: Tensor) -> Tensor:
        factor = self.log.clamp(max=math.log(LARGEST_SCALE)).exp()
        return factor * cosines


def symmetric_contrast(
    videos: Tensor,
    texts: Tensor,
    scale: Tensor | float,
    positive: Tensor | None = None,
    mask: Tensor | None = None,
    target_temperature: float | None = None,
) -> Tensor:
    """The mean over the ``m`` texts of CLIP's loss.

    Args:
        videos: ``(b d)`` of unit length.
        texts: ``(n m d)`` of unit length.
        scale: factor of the cosines.
        positive: ``(b n)`` bool, which classes a video belongs to; video i to class i when not given.
        mask: ``(n m)`` bool, which texts there are; all when not given.
        target_temperature: as in :func:`fsar.objectives.multi_positive_kl`.

    >>> videos = texts = torch.eye(2)
    >>> symmetric_contrast(videos, texts[:, None], scale=100.0)
    tensor(0.)
    """
    logits = scale * torch.einsum("bd,nmd->mbn", videos, texts)
    if positive is None:
        positive = torch.eye(len(videos), dtype=torch.bool, device=videos.device)
    there = torch.ones(texts.shape[:2], dtype=torch.bool, device=texts.device) if mask is None else mask
    losses = [
        both_directions(some[:, kept], positive[:, kept], target_temperature)
        for some, kept in zip(logits, there.mT, strict=True)
    ]
    return torch.stack(losses).mean()


class SymmetricContrast(Objective):
    """CLIP's loss between the videos of a step and what is said about their classes.

    Args:
        texts: what is said about a class; CLIP-FSAR's template when not given.
        kinds: which of it; "caption" is what data.captions says of each clip.
        scale: initial value of the learned factor; CLIP's 1/0.07.
        target_temperature: ActionCLIP's, 10 as released; null for CLIP's own targets.
        weight: of the loss.

    >>> sorted(SymmetricContrast()(step))  # that of fsar.objectives
    ['loss']
    """

    name = "contrast"

    def __init__(
        self,
        texts: TextBank | None = None,
        kinds: Sequence[ClipKind] = ("template",),
        scale: float = 14.3,
        target_temperature: float | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.texts = TextBank() if texts is None else texts
        self.kinds = check_kinds(kinds, type(self).__name__, ("caption",))
        self.scale = Scale(scale)
        self.target_temperature = target_temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts, mask, owners = step.read_texts(self.texts, self.kinds)
        positive = step.rows[:, None] == owners
        one = torch.ones((), device=texts.device)
        loss = symmetric_contrast(step.videos(), texts, self.scale(one), positive, mask, self.target_temperature)
        return {"loss": loss}
