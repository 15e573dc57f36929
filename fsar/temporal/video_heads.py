"""ActionCLIP's video heads: frames of a clip in, frames that know each other out; their mean is the video.

Wang et al. 2021, "ActionCLIP", https://arxiv.org/abs/2109.08472, section 3.3; released code
https://github.com/sallymmx/ActionCLIP. Its ``Transf`` and ``LSTM`` are :class:`SequenceTransformer` (6 blocks) and
:class:`SequenceLSTM`; its ``meanP`` is no head at all.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class ShiftConvolution(nn.Module):
    """``conv1d``: a depthwise convolution over three frames, plus its input.

    At first a quarter of the channels takes the frame before, a quarter the frame after, the rest the frame itself.

    Args:
        channels: ``d``.
        layout: "published": the released code reads ``(t d)`` as ``(d t)`` without transposing, which mixes time and
            channels; "correct" transposes.

    Examples:
        >>> ShiftConvolution(channels=64)(torch.rand(3, 8, 64)).shape
        torch.Size([3, 8, 64])
    """

    def __init__(self, channels: int, layout: Literal["correct", "published"] = "correct") -> None:
        super().__init__()
        self.shift = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        quarter = channels // 4
        with torch.no_grad():
            self.shift.weight.zero_()
            self.shift.weight[:quarter, 0, 0] = 1
            self.shift.weight[quarter:-quarter, 0, 1] = 1
            self.shift.weight[-quarter:, 0, 2] = 1
        self.layout = layout

    def forward(self, frames: Tensor) -> Tensor:
        """``(... t d) -> (... t d)``."""
        x = frames.reshape(-1, *frames.shape[-2:])
        turned = x.reshape(len(x), x.shape[2], x.shape[1]) if self.layout == "published" else x.mT
        out: Tensor = self.shift(turned).mT.reshape(frames.shape) + frames
        return out


class ClassTokenTransformer(nn.Module):
    """``Transf_cls``: a learned token before the frames of a post-norm Transformer; what becomes of it is the video.

    Args:
        channels: ``d``.
        frames: ``t``.
        depth: layers.
        heads: attention heads.
        dropout: in training.

    Examples:
        >>> ClassTokenTransformer(channels=64)(torch.rand(3, 8, 64)).shape
        torch.Size([3, 1, 64])
    """

    def __init__(self, channels: int, frames: int = 8, depth: int = 6, heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"ClassTokenTransformer: depth must be at least 1, found {depth}.")
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, channels), std=0.02))
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, frames + 1, channels), std=0.02))
        layer = nn.TransformerEncoderLayer(channels, heads, 2048, dropout, "relu", batch_first=True)
        norm = nn.LayerNorm(channels)
        self.transformer_enc = nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)

    def forward(self, frames: Tensor) -> Tensor:
        """``(... t d) -> (... 1 d)``.

        Raises:
            ValueError: clips of another number of frames than the positions were made for.
        """
        count = self.pos_embed.shape[1] - 1
        if frames.shape[-2] != count:
            raise ValueError(
                f"ClassTokenTransformer has positions for frames={count}, but the clips have {frames.shape[-2]} frames."
            )
        x = frames.reshape(-1, *frames.shape[-2:])
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        out: Tensor = self.transformer_enc(x)[:, :1]
        return out.reshape(*frames.shape[:-2], 1, -1)
