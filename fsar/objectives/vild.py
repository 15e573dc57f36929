"""ViLD: what is trained stays near the frozen tower, and a learned text stands for what no class says.

Gu et al. 2022, "Open-vocabulary Object Detection via Vision and Language Knowledge Distillation" (ViLD),
https://arxiv.org/abs/2104.13921, equations 5 and 2::

    anchor      mean over clips and frames of |L2n(trained) - L2n(frozen)|_1
    background  CE(s · cos(r, [t_bg; t_1; ...; t_n])),  t_bg learned

In ViLD regions without an object teach t_bg. A step of clips has none: here every clip is also shown the texts without
that of its own class, and then the background is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fsar.objectives.base import Objective, Step
from fsar.objectives.clip import Scale
from fsar.text.bank import TextBank
from fsar.text.chunks import Encodes
from fsar.text.kinds import Kind, check_kinds


def anchor_distance(trained: Tensor, frozen: Tensor) -> Tensor:
    """``mean |L2n(trained) - L2n(frozen)|_1`` of features ``(... d)``; no gradient reaches ``frozen``.

    >>> anchor_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]))  # |0.6 - 1| + |0.8|
    tensor(1.2000)
    """
    return (normalize(trained, dim=-1) - normalize(frozen.detach(), dim=-1)).abs().sum(-1).mean()


def with_background(videos: Tensor, texts: Tensor, background: Tensor, scale: Tensor | float) -> Tensor:
    """Logits ``(... 1+n)`` of unit videos ``(... d)``: the background first, then the unit texts ``(n d)``."""
    columns = torch.cat([normalize(background, dim=-1)[None].to(texts.dtype), texts])
    return scale * videos @ columns.mT


class Anchor(Objective):
    """Holds the encoder's frames near those that it gave before training.

    Args:
        weight: of the loss.

    >>> sorted(Anchor()(step))  # that of fsar.objectives
    ['loss']
    """

    name = "anchor"
    needs_joint = ()
    needs_frozen = True
    reads_text = False

    def forward(self, step: Step) -> dict[str, Tensor]:
        if step.frozen is None:
            raise ValueError("Anchor: the step has no frozen features.")
        return {"loss": anchor_distance(step.features["frames"].float(), step.frozen["frames"].float())}


class BackgroundText(Objective):
    """A learned text beside those of the classes, for clips of none of them.

    Args:
        channels: of the text tower, such as 512 for ViT-B/16.
        texts: what is said about a class; CLIP-FSAR's template when not given.
        kinds: which of it; the mean of a class's texts is taken.
        scale: initial value of the learned factor.
        weight: of the loss.

    >>> sorted(BackgroundText(64)(step))  # that of fsar.objectives
    ['loss', 'unknown']
    """

    name = "background"
    needs_training = False

    def __init__(
        self,
        channels: int,
        texts: TextBank | None = None,
        kinds: Sequence[Kind] = ("template",),
        scale: float = 14.3,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.texts = TextBank() if texts is None else texts
        self.kinds = check_kinds(kinds, type(self).__name__)
        self.scale = Scale(scale)
        self.background = nn.Parameter(channels**-0.5 * torch.randn(channels))

    def check_widths(self, frames: int, words: int) -> None:
        if words != len(self.background):
            raise ValueError(
                f"BackgroundText was made for channels={len(self.background)}, but the text tower gives {words}: set "
                "channels to that."
            )

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts = step.texts(self.texts, self.kinds).mean()
        self.check_widths(texts.shape[-1], texts.shape[-1])
        videos = step.videos()
        logits = self.scale(with_background(videos, texts, self.background, 1.0))
        own = torch.arange(len(texts), device=videos.device) == step.rows[:, None]
        without = torch.cat([logits[:, :1], logits[:, 1:].masked_fill(own, -torch.inf)], -1)
        known = cross_entropy(logits, step.rows + 1)
        unknown = cross_entropy(without, torch.zeros_like(step.rows))
        return {"loss": (known + unknown) / 2, "unknown": unknown.detach()}

    @torch.no_grad()
    def encode_names(self, tower: Encodes, names: Sequence[str]) -> Tensor:
        """``(n d)`` what it is compared beside: the mean of each class's unit texts."""
        return self.texts.features(tower, list(names), self.kinds).mean().float()

    @torch.no_grad()
    def unlike_all(self, videos: Tensor, texts: Tensor) -> Tensor:
        """Probability ``(...)`` of the background for unit videos ``(... d)`` among unit texts ``(n d)``."""
        return self.log_odds(videos, texts).neg().sigmoid()

    @torch.no_grad()
    def log_odds(self, videos: Tensor, texts: Tensor) -> Tensor:
        """``log P(any of the texts) - log P(background)``, which tells clips apart where either is all but certain."""
        logits = self.scale(with_background(videos, texts, self.background, 1.0))
        return logits[..., 1:].logsumexp(-1) - logits[..., 0]
