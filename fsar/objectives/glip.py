"""GLIP: words x frames, trained by the focal loss of its alignment map.

Li et al. 2022, "Grounded Language-Image Pre-training", https://arxiv.org/abs/2112.03857, section 3.1, eq. 2::

    loss = Σ focal(map(frame, word), [the frame's class says the word]) / Σ [..]

The paper has boxes; here every frame has its clip's class, as in :mod:`fsar.objectives.glipv2`, whose words these are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fsar.functional import focal_loss
from fsar.objectives.base import Objective, Step
from fsar.objectives.glipv2 import list_words
from fsar.text.bank import TextBank


class WordMap(Objective):
    """Trains a map of words x frames beside the method; ``fsar predict --explain`` draws it.

    Args:
        map: ``(... p c)`` and ``(... w d)`` to logits ``(... p w)``, such as fsar.fusion.AlignmentMap.
        alpha: weight of the positives.
        weight: of the loss.

    >>> from fsar.fusion import AlignmentMap
    >>> sorted(WordMap(AlignmentMap(64))(step))  # that of fsar.objectives
    ['loss']
    """

    name = "word_map"
    needs_training = False  # the map learns, whatever the encoder does

    def __init__(self, map: nn.Module, alpha: float = 0.25, weight: float = 1.0) -> None:
        super().__init__(weight)
        if not 0 <= alpha <= 1:
            raise ValueError(f"WordMap: alpha is a share, found {alpha}.")
        self.map, self.alpha = map, alpha
        self.texts = TextBank("names", brackets="stripped")

    def list_words(self, name: str) -> list[str]:
        """What of a class stands in the map."""
        return [word for text in self.texts.texts(name, ("name",)) for word in list_words(text)]

    @torch.no_grad()
    def check_widths(self, frames: int, words: int) -> None:
        device = next((x.device for x in self.map.parameters()), None)
        self.map(torch.zeros(1, frames, device=device), torch.zeros(1, words, device=device))

    def forward(self, step: Step) -> dict[str, Tensor]:
        said = [set(self.list_words(name)) for name in step.names]
        columns = sorted(set().union(*said))
        of_class = torch.tensor([[word in own for word in columns] for own in said], device=step.rows.device)
        words = normalize(step.tower.encode(columns).float(), dim=-1).to(step.rows.device)
        tokens = normalize(step.tokens("frames"), dim=-1)  # (b P d)
        logits = self.map(tokens, words.expand(len(tokens), *words.shape))  # (b P w)
        target = of_class[step.rows][:, None].expand_as(logits)
        return {"loss": focal_loss(logits, target, alpha=self.alpha) / target.sum()}
