"""TPCM, the text-guided prototype construction of MA-CLIP.

Xing et al., "Multimodal Adaptation of CLIP for Few-Shot Action Recognition", https://arxiv.org/abs/2308.01532,
section 3.4. No official code was found: 8 heads and norms before each part are ours, the parameter count is theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TPCM(nn.Module):
    """One Transformer layer, in which the frames of a support clip see the text of their class too::

        support   q0 = f + text,  kv = [text; f]
        query     q0 = f,         kv = f
        H = q0 + MHA(LN q0, LN kv, LN kv);  out = H + FFN(LN H)

    Frames carry no position, so the module is equivariant to their permutation.

    Args:
        channels: ``d``, of frames and text.
        heads: attention heads.
        hidden: width of the feed-forward part.

    3,152,384 weights for 512 channels.

    Examples:
        >>> TPCM(channels=64)(torch.rand(3, 8, 64), text=torch.rand(3, 64)).shape
        torch.Size([3, 8, 64])
    """

    def __init__(self, channels: int, heads: int = 8, hidden: int = 2048) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"TPCM: heads={heads} must divide the {channels} channels of the features.")
        self.norm, self.hidden_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, frames: Tensor, text: Tensor | None = None) -> Tensor:
        """``(... t d)``, and ``(... d)`` for support clips, to ``(... t d)``."""
        q = kv = frames
        if text is not None:
            token = text.unsqueeze(-2).to(frames.dtype)
            q, kv = frames + token, torch.cat([token, frames], dim=-2)
        normed, seen = (self.norm(x).reshape(-1, *x.shape[-2:]) for x in (q, kv))
        h = q + self.attention(normed, seen, seen, need_weights=False)[0].reshape(q.shape)
        out: Tensor = h + self.feed_forward(self.hidden_norm(h))
        return out
