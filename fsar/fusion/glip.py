"""Deep fusion of what is seen with what is said, and the map that aligns the two.

Li et al. 2022, "Grounded Language-Image Pre-training" (GLIP), https://arxiv.org/abs/2112.03857, sections 3.1 and 3.2;
released code https://github.com/microsoft/GLIP. With v the frames or patches ``(... p c)`` and l the words
``(... w d)``, one score matrix per head serves both directions::

    a = (LN v W_q)(LN l W_k)ᵀ / √d_h
    v <- v + γ_v softmax_l(a) (LN l W_vl) W_ov
    l <- l + γ_l softmax_v(aᵀ) (LN v W_vv) W_ol

    S = O (W L2n(l) / 2)ᵀ / exp(scale) + L2n(l)·b_l + b_0            the alignment map, words x frames
    loss = Σ α_y (1 - p_y)² CE over the real words                      focal, α = 0.25

The release replaces the stream by its LayerNorm before it adds, starts γ at one over the number of fusion layers, and
masks padded words only where frames read them: ``published=True``. Here the sum goes onto the stream itself, γ starts
at 0, so that a fusion begins as the identity, and padded words stay as they are.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Features
from fsar.fusion.base import Fusion, Levels

FURTHEST = 50000.0
"""Scores are kept within this, as released, so that half precision does not overflow."""


class BiAttention(nn.Module):
    """Both directions of attention from one score matrix; names of weights as in the released code."""

    def __init__(self, channels: int, words: int, width: int, heads: int, mask_both: bool) -> None:
        super().__init__()
        self.heads = heads
        self.mask_both = mask_both
        self.v_proj = nn.Linear(channels, width)
        self.l_proj = nn.Linear(words, width)
        self.values_v_proj = nn.Linear(channels, width)
        self.values_l_proj = nn.Linear(words, width)
        self.out_v_proj = nn.Linear(width, channels)
        self.out_l_proj = nn.Linear(width, words)

    def forward(self, v: Tensor, w: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What is added to frames ``v (... p c)`` and words ``w (... w d)``, and the scores ``(... h p w)``."""
        q, k, value_v, value_l = (
            x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for x in (self.v_proj(v), self.l_proj(w), self.values_v_proj(v), self.values_l_proj(w))
        )
        scores = (q @ k.mT / math.sqrt(q.shape[-1])).clamp(-FURTHEST, FURTHEST)
        seen = scores
        if mask is not None:
            seen = scores.masked_fill(mask[..., None, None, :] == 0, -9e15 if scores.dtype != torch.float16 else -6e4)
        to_v = seen.softmax(-1) @ value_l
        to_l = scores.mT.softmax(-1) @ value_v
        delta_v: Tensor = self.out_v_proj(to_v.transpose(-3, -2).flatten(-2))
        delta_l: Tensor = self.out_l_proj(to_l.transpose(-3, -2).flatten(-2))
        if mask is not None and self.mask_both:
            delta_l = delta_l * (mask > 0)[..., None]
        return delta_v, delta_l, scores


class GatedCrossAttention(Fusion):
    """One fusion layer: frames read words and words read frames.

    As ``fusion`` of a method, a support clip reads the text of its class; a query reads none (CLIP-FSAR's choice), or
    with ``queries="each"`` there is one of it for every class, which read that class's text.

    Args:
        channels: ``c`` of frames or patches.
        words: channels ``d`` of the words; as ``channels`` when not given.
        width: of queries, keys and values, all heads together; as ``channels`` when not given.
        heads: attention heads.
        layers: how many fusion layers there are, for ``published``, whose γ starts at one over it.
        published: as released, see the module's text.
        queries: what a query reads.

    Examples:
        >>> frames, words = torch.rand(2, 8, 64), torch.rand(2, 5, 32)
        >>> fused, read = GatedCrossAttention(channels=64, words=32)(frames, words)
        >>> torch.equal(fused, frames)  # the identity, until it is trained
        True
    """

    def __init__(
        self,
        channels: int,
        words: int | None = None,
        width: int | None = None,
        heads: int = 8,
        layers: int = 1,
        published: bool = False,
        queries: Literal["none", "each"] = "none",
    ) -> None:
        super().__init__()
        if queries not in ("none", "each"):
            raise ValueError(f"GatedCrossAttention: queries is none or each, found {queries!r}.")
        self.conditions_queries = queries == "each"
        words, width = words or channels, width or channels
        if width % heads:
            raise ValueError(f"GatedCrossAttention: heads={heads} must divide width={width}.")
        start = 1 / layers if published else 0.0
        self.published = published
        self.layer_norm_v = nn.LayerNorm(channels)
        self.layer_norm_l = nn.LayerNorm(words)
        self.attn = BiAttention(channels, words, width, heads, mask_both=not published)
        self.gamma_v = nn.Parameter(torch.full((channels,), start))
        self.gamma_l = nn.Parameter(torch.full((words,), start))

    reads_text = True

    def fuse(self, features: Features) -> Levels:
        return {"frames": features["frames"]}

    def fuse_support(self, features: Features, text: Tensor) -> Levels:
        return {"frames": self(features["frames"], text.unsqueeze(-2).to(features["frames"].dtype))[0]}

    def fuse_for_classes(self, frames: Tensor, text: Tensor) -> Tensor:
        n, q = text.shape[-2], frames.shape[-3]
        each = frames.unsqueeze(-4).expand(*frames.shape[:-3], n, q, *frames.shape[-2:])
        words = text[..., :, None, None, :].expand(*text.shape[:-1], q, 1, text.shape[-1])
        return self(each, words.to(frames.dtype))[0]

    def forward(self, frames: Tensor, words: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both streams after the layer.

        Args:
            frames: ``(... p c)``, frames or patches.
            words: ``(... w d)``; leading axes are those of ``frames``.
            mask: ``(... w)``, true (or above 0) on real words.

        Returns:
            ``(... p c)`` and ``(... w d)``.
        """
        if frames.shape[-1] != len(self.gamma_v) or words.shape[-1] != len(self.gamma_l):
            raise ValueError(
                f"GatedCrossAttention was made for frames of {len(self.gamma_v)} channels and words of "
                f"{len(self.gamma_l)}, found {frames.shape[-1]} and {words.shape[-1]}."
            )
        v, w = self.layer_norm_v(frames), self.layer_norm_l(words)
        delta_v, delta_l, _ = self.attn(v, w, mask)
        if not self.published:
            v, w = frames, words
        return v + self.gamma_v * delta_v, w + self.gamma_l * delta_l


class AlignmentMap(nn.Module):
    """Words x frames: how much each frame (or patch) shows what each word says, as logits.

    Args:
        channels: ``c`` of frames or patches.
        words: channels ``d`` of the words; as ``channels`` when not given.
        prior: probability at which an untrained map starts.

    Examples:
        >>> AlignmentMap(channels=64, words=32)(torch.rand(2, 8, 64), torch.rand(2, 5, 32)).shape
        torch.Size([2, 8, 5])
    """

    def __init__(self, channels: int, words: int | None = None, prior: float = 0.01) -> None:
        super().__init__()
        if not 0 < prior < 1:
            raise ValueError(f"AlignmentMap: prior must lie between 0 and 1, found {prior}.")
        words = words or channels
        self.projection_text = nn.Linear(words, channels)
        self.bias_lang = nn.Parameter(torch.zeros(words))
        self.bias0 = nn.Parameter(torch.tensor([-math.log((1 - prior) / prior)]))
        self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, frames: Tensor, words: Tensor) -> Tensor:
        """``(... p c)`` and ``(... w d)`` to logits ``(... p w)``."""
        weight = self.projection_text.weight  # (c d)
        if frames.shape[-1] != weight.shape[0] or words.shape[-1] != weight.shape[1]:
            raise ValueError(
                f"AlignmentMap was made for frames of {weight.shape[0]} channels and words of {weight.shape[1]}, found "
                f"{frames.shape[-1]} and {words.shape[-1]}."
            )
        said = normalize(words, dim=-1)
        tokens = self.projection_text(said / 2)
        bias = said @ self.bias_lang + self.bias0  # (... w)
        logits = frames @ tokens.mT / self.log_scale.exp() + bias.unsqueeze(-2)
        return logits.clamp(-FURTHEST, FURTHEST)
