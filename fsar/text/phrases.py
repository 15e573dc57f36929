"""Phrases with values, read off the patches of a frame: how far, how fast, how large.

Zhang et al. 2022, "Can Language Understand Depth?" (DepthCLIP), https://arxiv.org/abs/2207.01077, section 3: seven
phrases of depth, each with a number of metres; a patch has the mean of the numbers, weighted by how well the phrases
fit it::

    w_pj = softmax_j(scale · cos(patch_p, phrase_j) / temperature);   value_p = Σ_j w_pj value_j

The release reads RN50's last map before CLIP's projection, where cosines with text mean little, keeps every second of
its channels, and normalises before it drops the others: ``published_channels``. Here patches must lie in the space of
the text: hand over projected ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

DEPTH = {
    "giant": 1.0,
    "extremely close": 1.5,
    "close": 2.0,
    "not in distance": 2.25,
    "a little remote": 2.5,
    "far": 2.75,
    "unseen": 3.0,
}
"""The paper's phrases of depth and their metres."""

MOTION = {"still": 0.0, "moving slowly": 0.5, "moving fast": 1.0}
"""Phrases of motion, from 0 to 1 (ours)."""


class PatchPhraseMap(nn.Module):
    """Values of patches by the phrases that fit them.

    Args:
        phrases: each phrase and its value.
        template: what stands around a phrase, with one ``{}`` for it.
        scale: factor of the cosines.
        temperature: they are divided by it; 0.1 as released.
        published_channels: keep every second channel of the patches, as released.

    Raises:
        ValueError: fewer than two phrases, a template without its place, a temperature that is not above 0.

    Examples:
        >>> depth = PatchPhraseMap()
        >>> depth.texts[0]
        'This object is giant'
        >>> depth(torch.eye(7)[2:4], torch.eye(7))  # patches that are the third and the fourth phrase
        tensor([2.0000, 2.2500])
    """

    values: Tensor

    def __init__(
        self,
        phrases: Mapping[str, float] | None = None,
        template: str = "This object is {}",
        scale: float = 100.0,
        temperature: float = 0.1,
        published_channels: bool = False,
    ) -> None:
        super().__init__()
        phrases = DEPTH if phrases is None else phrases
        if len(phrases) < 2:
            raise ValueError(f"PatchPhraseMap: give two phrases at least, each with its value; found {dict(phrases)}.")
        if template.count("{}") != 1:
            raise ValueError(
                f"PatchPhraseMap: template must hold {{}} once, where the phrase goes; found {template!r}."
            )
        if not temperature > 0:
            raise ValueError(f"PatchPhraseMap: temperature must be above 0, found {temperature}.")
        self.phrases = tuple(phrases)
        self.template = template
        self.factor = scale / temperature
        self.published_channels = published_channels
        self.register_buffer("values", torch.tensor(list(phrases.values()), dtype=torch.float32), persistent=False)

    @property
    def texts(self) -> Sequence[str]:
        """The phrases in their template, for a text tower."""
        return [self.template.format(phrase) for phrase in self.phrases]

    def weigh(self, patches: Tensor, text: Tensor) -> Tensor:
        """How well each phrase fits, adding up to 1: patches ``(... p d)``, texts ``(j d)`` to ``(... p j)``."""
        seen = normalize(patches, dim=-1)
        if self.published_channels:
            seen = seen[..., ::2]
        if text.shape != (len(self.phrases), seen.shape[-1]):
            raise ValueError(
                f"PatchPhraseMap: {len(self.phrases)} phrases against patches of {seen.shape[-1]} channels need texts "
                f"({len(self.phrases)} {seen.shape[-1]}), found {tuple(text.shape)}; patches must lie in the space of "
                "the text (projected)."
            )
        return (self.factor * seen @ normalize(text, dim=-1).mT).softmax(-1)

    def forward(self, patches: Tensor, text: Tensor) -> Tensor:
        """``(... p d)`` and ``(j d)`` to a value for each patch, ``(... p)``."""
        return self.weigh(patches, text) @ self.values.to(patches.dtype)
