"""Sequence models over the frames of a clip that CLIP4Clip and ActionCLIP share.

Luo et al. 2021, "CLIP4Clip", https://arxiv.org/abs/2104.08860, section 3.3; Wang et al. 2021, "ActionCLIP",
https://arxiv.org/abs/2109.08472, section 3.3. The blocks are CLIP's own text blocks (pre-norm, QuickGELU) but for the
layer norm's epsilon of 1e-12, as both releases have it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, scaled_dot_product_attention

PADDING = -1e6
"""Added to the attention logits of padded frames, as released."""


def pool_frames(frames: Tensor, mask: Tensor | None = None) -> Tensor:
    """``L2n(mean of the real frames L2n(v_t))``: ``(... t d)`` and ``(... t)`` -> ``(... d)``.

    Args:
        frames: ``(... t d)``.
        mask: ``(... t)``, 1 or true where a frame is real; None when all are. A clip without any frame gives zeros.
    """
    unit = normalize(frames, dim=-1)
    return normalize(unit.mean(-2) if mask is None else (unit * mask[..., None]).sum(-2), dim=-1)


class QuickGELU(nn.Module):
    """``z σ(1.702 z)``."""

    def forward(self, z: Tensor) -> Tensor:
        """Any shape."""
        return z * torch.sigmoid(1.702 * z)


class PreNormBlock(nn.Module):
    """``x ← x + MHA(LN(x)); x ← x + W_2 QuickGELU(W_1 LN(x))``, parameters named as in CLIP's blocks.

    Args:
        channels: ``d``.
        heads: attention heads of ``d / heads`` channels.
        eps: of the layer norms.
        quick_gelu: the activation; exact GELU otherwise.
    """

    def __init__(self, channels: int, heads: int, eps: float = 1e-12, quick_gelu: bool = True) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(channels, eps=eps)
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)  # holds the weights
        self.ln_2 = nn.LayerNorm(channels, eps=eps)
        act = QuickGELU() if quick_gelu else nn.GELU()
        layers = [
            ("c_fc", nn.Linear(channels, 4 * channels)),
            ("gelu", act),
            ("c_proj", nn.Linear(4 * channels, channels)),
        ]
        self.mlp = nn.Sequential(OrderedDict[str, nn.Module](layers))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """``(... l d) -> (... l d)``; ``bias (... 1 1 l)`` is added to the attention logits of all heads."""
        projected = linear(self.ln_1(x), self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = projected.unflatten(-1, (3, self.attn.num_heads, -1)).movedim(-3, 0).transpose(-3, -2).unbind(0)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(-3, -2).flatten(-2)
        x = x + self.attn.out_proj(mixed)
        return x + self.mlp(self.ln_2(x))


class BlockStack(nn.Module):
    """Learned positions and pre-norm blocks: ``blocks(v + P[0..t-1])``.

    Args:
        channels: ``d``.
        depth: number of blocks.
        positions: rows of ``P``, the longest clip.
        heads: attention heads; ``d / 64``, at least 1, when not given.
        zero_init: let every block start as the identity (ours), so that the stack starts as its input.
    """

    def __init__(
        self, channels: int, depth: int = 4, positions: int = 77, heads: int | None = None, zero_init: bool = False
    ) -> None:
        super().__init__()
        heads = heads or max(1, channels // 64)
        if channels % heads:
            raise ValueError(f"heads={heads} must divide the {channels} channels of the features.")
        self.positions = nn.Parameter(0.02 * torch.randn(positions, channels))
        blocks = [PreNormBlock(channels, heads) for _ in range(depth)]
        self.resblocks = nn.ModuleList(blocks)
        if zero_init:
            for block in blocks:
                for parameter in (*block.attn.out_proj.parameters(), *block.mlp[-1].parameters()):
                    nn.init.zeros_(parameter)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t d)`` and, for padded clips, ``mask (... t)`` -> ``(... t d)``."""
        if frames.shape[-2] > len(self.positions):
            raise ValueError(
                f"a clip has {frames.shape[-2]} tokens, but there are {len(self.positions)} positions: give more "
                "positions or fewer data.frames."
            )
        bias = None if mask is None else (PADDING * (1 - mask.to(frames.dtype)))[..., None, None, :]
        x = frames + self.positions[: frames.shape[-2]]
        for block in self.resblocks:
            x = block(x, bias)
        return x

    def start_from(self, tower: Any) -> None:
        """Copy the first blocks and the positions of a CLIP text tower of the same width, as CLIP4Clip does.

        Raises:
            ValueError: when width or depth do not fit.
        """
        blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
        width, depth = self.positions.shape[-1], len(self.resblocks)
        if blocks is None or len(blocks) < depth or tower.positional_embedding.shape[-1] != width:
            found = "none" if blocks is None else f"{len(blocks)} of width {tower.positional_embedding.shape[-1]}"
            raise ValueError(
                f"the {depth} blocks of width {width} cannot start from the text tower's blocks ({found}). Use "
                "init_from_text=false, or an encoder whose text tower is as wide as its features (ViT-B-16)."
            )
        for ours, theirs in zip(self.resblocks, blocks, strict=False):
            ours.load_state_dict(theirs.state_dict())
        with torch.no_grad():
            rows = min(len(self.positions), len(tower.positional_embedding))
            self.positions[:rows] = tower.positional_embedding[:rows]


class SequenceTransformer(BlockStack):
    """CLIP4Clip's seqTransf and ActionCLIP's Transf: ``blocks(v + P) + v``.

    Examples:
        >>> SequenceTransformer(channels=64)(torch.rand(3, 8, 64)).shape
        torch.Size([3, 8, 64])
    """

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t d)`` and, for padded clips, ``mask (... t)`` -> ``(... t d)``."""
        return super().forward(frames, mask) + frames


class SequenceLSTM(nn.Module):
    """seqLSTM: one LSTM layer forward in time, plus its input. Padding stands at the end of a clip, out of its sight.

    Args:
        channels: ``d``.

    Examples:
        >>> SequenceLSTM(channels=64)(torch.rand(3, 8, 64)).shape
        torch.Size([3, 8, 64])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm_visual = nn.LSTM(channels, channels, batch_first=True)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t d) -> (... t d)``; what comes out at padded frames means nothing."""
        flat = frames.reshape(-1, *frames.shape[-2:])
        mixed = flat.device.type != "cpu" and torch.is_autocast_enabled(flat.device.type)
        if not mixed:  # not every processor has an LSTM in bfloat16
            flat = flat.to(next(self.lstm_visual.parameters()).dtype)
        with torch.autocast(flat.device.type, enabled=mixed):
            return self.lstm_visual(flat)[0].reshape(frames.shape) + frames


class TightTransformer(nn.Module):
    """tightTransf: text and frames of every pair pass the blocks together; ``q · n`` passes, and no shared space.

    ``W_2 QuickGELU(W_1 LN(blocks([x; v_1 .. v_t] + P))_0)``.

    Args:
        channels: ``d``.
        depth: number of blocks.
        positions: rows of ``P``, the longest clip and one.
    """

    def __init__(self, channels: int, depth: int = 4, positions: int = 77) -> None:
        super().__init__()
        self.blocks = BlockStack(channels, depth, positions)
        self.head = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-12), nn.Linear(channels, channels), QuickGELU(), nn.Linear(channels, 1)
        )

    def forward(self, text: Tensor, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Similarity of texts ``(... n d)`` and clips ``(... q t d)`` with ``mask (... q t)`` -> ``(... q n)``."""
        (q, t), n = frames.shape[-3:-1], text.shape[-2]
        lead = torch.broadcast_shapes(frames.shape[:-3], text.shape[:-2])
        words = text[..., None, :, None, :].expand(*lead, q, n, 1, -1)
        clips = frames[..., :, None, :, :].expand(*lead, q, n, t, -1)
        if mask is not None:
            mask = torch.cat([torch.ones_like(mask[..., :1]), mask], dim=-1)[..., :, None, :]
            mask = mask.expand(*mask.shape[:-2], n, -1)
        return self.head(self.blocks(torch.cat([words, clips], dim=-2), mask)[..., 0, :])[..., 0]
