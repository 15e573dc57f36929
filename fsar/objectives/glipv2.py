"""GLIPv2: the frames or patches of all clips of a step against the words of all its classes.

Zhang et al. 2022, "GLIPv2: Unifying Localization and Vision-Language Understanding", https://arxiv.org/abs/2206.05836,
section 3.2, inter-image region-word contrast on embeddings from before any fusion. With unit tokens u and words x::

    S = s u xᵀ;   loss = ½ [CE(rows of S, T) + CE(columns of S, T')]

T is 1 where a token's class says the word, spread evenly over the positives of a row (T' of a column). A word that
several classes say is one column, so that it is a positive of them all: the paper's spreading of labels over equal
nouns. The paper reads its words inside the sentence; here the text tower reads each by itself, since what CLIP's
tower gives inside a sentence was never trained to lie near an image. No boxes: a token has its clip's class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fsar.objectives.base import Objective, Step
from fsar.objectives.clip import Scale
from fsar.text.bank import TextBank
from fsar.text.chunks import encode_whole
from fsar.text.kinds import Kind, check_kinds

_SMALL = (
    "a an and are as at be by for from in into is it its of off on one onto or out over so some something someone "
    "somebody somewhere that the their then there to up down with while"
)
SMALL_WORDS = frozenset(_SMALL.split())
"""Words that say nothing of a class by themselves."""


def word_region_contrast(logits: Tensor, positive: Tensor) -> Tensor:
    """``½ [CE(rows) + CE(columns)]`` of logits ``(... r w)``, the target even over the positives ``(... r w)`` of a row
    or column; those without one stay out of the mean.

    >>> word_region_contrast(torch.zeros(2, 4), torch.tensor([[True, False, False, False], [False, True, True, False]]))
    tensor(1.0397)
    """
    return (_spread(logits, positive) + _spread(logits.mT, positive.mT)) / 2


def _spread(logits: Tensor, positive: Tensor) -> Tensor:
    counts = positive.sum(-1)
    each = -(logits.float().log_softmax(-1) * positive).sum(-1) / counts.clamp_min(1)
    kept = counts > 0
    return (each * kept).sum() / kept.sum().clamp_min(1)


def list_words(text: str) -> list[str]:
    """The words of a text that say something, in small letters, each once."""
    found = re.findall(r"[a-z][a-z'-]*", text.lower())
    return list(dict.fromkeys(word for word in found if word not in SMALL_WORDS)) or [text]


class WordRegionContrast(Objective):
    """GLIPv2's contrast between the tokens of all clips and the words, or whole texts, of all classes.

    Args:
        tokens: which tokens of a clip.
        columns: the single words of the texts, or the texts as they are.
        texts: what is said about a class.
        kinds: which of it; the bare name by default.
        scale: initial value of the learned factor.
        weight: of the loss.

    >>> sorted(WordRegionContrast()(step))  # that of fsar.objectives
    ['loss']
    """

    name = "words"

    def __init__(
        self,
        tokens: Literal["frames", "patches"] = "frames",
        columns: Literal["words", "texts"] = "words",
        texts: TextBank | None = None,
        kinds: Sequence[Kind] = ("name",),
        scale: float = 14.3,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.tokens, self.columns = tokens, columns
        self.needs = self.needs_joint = (tokens,)
        self.texts = TextBank("names", brackets="stripped") if texts is None else texts
        self.kinds = check_kinds(kinds, type(self).__name__)
        self.scale = Scale(scale)

    def list_columns(self, name: str) -> list[str]:
        """The columns of a class."""
        texts = self.texts.texts(name, self.kinds)
        return texts if self.columns == "texts" else [word for text in texts for word in list_words(text)]

    def forward(self, step: Step) -> dict[str, Tensor]:
        said = [set(self.list_columns(name)) for name in step.names]
        columns = sorted(set().union(*said))
        of_class = torch.tensor([[word in own for word in columns] for own in said], device=step.rows.device)
        words = normalize(encode_whole(step.tower, columns).float(), dim=-1).to(step.rows.device)
        tokens = normalize(step.tokens(self.tokens), dim=-1)  # (b P d)
        positive = of_class[step.rows][:, None].expand(-1, tokens.shape[1], -1)
        logits = self.scale(tokens @ words.mT)
        return {"loss": word_region_contrast(logits.flatten(0, 1), positive.flatten(0, 1))}
