"""AudioCLIP: sound, image and text contrasted in pairs.

Guzhov et al. 2022, "AudioCLIP: Extending CLIP to Image, Text and Audio", https://arxiv.org/abs/2106.13043, section 3.2;
released code https://github.com/AndreyGuzhov/AudioCLIP. Over the pairs of modalities that there are::

    loss = mean over pairs of ½ [CE(rows of S) + CE(columns of S)],   S = scale_pair · cos

The release sums rows and columns of all pairs and divides by (number of pairs)!, which is 1, 2 and 6: one pair or two
give twice the mean. That is ``published``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fsar.objectives.base import Objective, Step
from fsar.objectives.clip import Scale
from fsar.objectives.multi_positive import both_directions
from fsar.text.bank import TextBank
from fsar.text.kinds import Kind, check_kinds


def trimodal_contrast(
    logits: Mapping[str, Tensor], positive: Mapping[str, Tensor] | None = None, published: bool = False
) -> Tensor:
    """AudioCLIP's loss over the pairs of modalities in ``logits``.

    Args:
        logits: of each pair, such as ``ai`` (sound and image), ``at`` and ``it``, ``(a b)`` with the factor on it.
        positive: of each pair ``(a b)`` bool; row i belongs to column i when not given.
        published: the release's factor.

    Raises:
        ValueError: without a pair.

    >>> trimodal_contrast({"it": torch.zeros(2, 2)})  # ln 2
    tensor(0.6931)
    """
    if not logits:
        raise ValueError("trimodal_contrast: there is no pair of modalities.")
    losses = []
    for pair, found in logits.items():
        eye = torch.eye(*found.shape, dtype=torch.bool, device=found.device)
        losses.append(both_directions(found, eye if positive is None else positive[pair]))
    total = torch.stack(losses).sum()
    return 2 * total / math.factorial(len(losses)) if published else total / len(losses)


class TrimodalContrast(Objective):
    """AudioCLIP's loss between the sound, the frames and the texts of a step.

    Clips of one class are positives of each other. A clip whose ``sound`` is all zeros has none, and stays out of the
    pairs with sound.

    Args:
        texts: what is said about a class; CLIP-FSAR's template when not given.
        kinds: which of it; the mean of a class's texts is taken.
        scale: initial value of the factor of images and texts.
        sound_scale: of the two factors of sound.
        published: the release's factor of the whole.
        weight: of the loss.

    >>> sorted(TrimodalContrast()(step))  # that of fsar.objectives
    ['loss']
    """

    name = "trimodal"
    needs = ("frames", "sound")
    needs_joint = ("frames", "sound")

    def __init__(
        self,
        texts: TextBank | None = None,
        kinds: Sequence[Kind] = ("template",),
        scale: float = 14.3,
        sound_scale: float = 100.0,
        published: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.texts = TextBank() if texts is None else texts
        self.kinds = check_kinds(kinds, type(self).__name__)
        self.published = published
        self.scales = nn.ModuleDict({"ai": Scale(sound_scale), "at": Scale(sound_scale), "it": Scale(scale)})

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts = step.texts(self.texts, self.kinds).mean()
        sound, images = step.tokens("sound").mean(-2), step.videos()
        heard = sound.abs().amax(-1) > 0
        sound = normalize(sound[heard], dim=-1)
        classes, rows = torch.arange(len(texts), device=images.device), step.rows
        cosines = {"it": images @ texts.mT}
        positive = {"it": rows[:, None] == classes}
        if bool(heard.any()):
            cosines |= {"ai": sound @ images[heard].mT, "at": sound @ texts.mT}
            positive |= {"ai": rows[heard][:, None] == rows[heard], "at": rows[heard][:, None] == classes}
        logits = {pair: self.scales[pair](found) for pair, found in cosines.items()}
        return {"loss": trimodal_contrast(logits, positive, self.published)}
