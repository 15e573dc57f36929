"""The adapters of MA-CLIP (MA-FSAR): global temporal, local multimodal or spatiotemporal, joint.

Xing et al., "Multimodal Adaptation of CLIP for Few-Shot Action Recognition", https://arxiv.org/abs/2308.01532,
section 3.3. No official code was found; this follows the paper's figures, and its parameter count agrees.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsar.adapters.base import Adapter, Block, Bottleneck, Clip, Linear, Part, Tower, attend, attend_across


class MAClipAdapter(Adapter):
    """Class tokens exchange over the frames; the result, and for a support its class text, join the frame's tokens.

    With the block's own frozen MSA (used twice) and MLP, ``A`` a bottleneck, for a clip ``X (t 1+p D)``::

        X_TA  = X_cls + A_T(MSA(LN1(X_cls)))          class tokens as a sequence of t
        X_in  = [X; X_TA; W_text f_T]                 the last token for a support clip alone
        X     = (X_in + H + A_M(H))[:1+p],  H = MSA(LN1(X_in)) within each frame
        X     = X + MLP(Y) + scale · A_J(Y),  Y = LN2(X)

    Args:
        ratio: channels between, as a part of the tower's width; 0.25 gives the published count.
        scale: of the joint adapter (not recovered from the paper).
        start_masked: a learned bias of -10 at first on the attention to each of the two added tokens, so that the
            tower is close to CLIP at first. The paper has none: ``false`` for its wiring, in which a copy of the class
            token and a random text token enter every softmax from the first step.

    15,379,200 trained weights in ViT-B, and two more a block for ``start_masked``. Any number of frames.

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in MAClipAdapter().part(0, tower).parameters())  # in each of its blocks
    10546
    """

    reads_text = True
    needs_class_token = True

    def __init__(self, ratio: float = 0.25, scale: float = 1.0, start_masked: bool = True) -> None:
        self.ratio = ratio
        self.scale = scale
        self.start_masked = start_masked

    def part(self, index: int, tower: Tower) -> Part:
        return MAClipPart(tower, round(tower.width * self.ratio), self.scale, self.start_masked)


class MAClipPart(Part):
    """What :class:`MAClipAdapter` adds to one block."""

    def __init__(self, tower: Tower, hidden: int, scale: float, start_masked: bool) -> None:
        super().__init__()
        self.temporal = Bottleneck(tower.width, hidden)
        self.multimodal = Bottleneck(tower.width, hidden)
        self.joint = Bottleneck(tower.width, hidden)
        self.text = Linear(tower.channels, tower.width)
        self.bias = nn.Parameter(torch.full((2,), -10.0)) if start_masked else None
        self.scale = scale

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`; a clip with text is a support, one without a query."""
        frames = x[:, 0].unflatten(0, (-1, clip.frames))  # (b t D), class tokens
        tokens = [x, (frames + self.temporal(attend_across(block, frames))).flatten(0, 1).unsqueeze(1)]
        if clip.text is not None:
            text = self.text(clip.text.to(x.dtype))  # (b D)
            tokens.append(text.repeat_interleave(clip.frames, dim=0).unsqueeze(1))
        added = len(tokens) - 1
        h = attend(block, torch.cat(tokens, dim=1), self.mask(x.shape[1], added))[:, :-added]
        x = x + h + self.multimodal(h)
        y = block.ln_2(x)
        return x + block.ls_2(block.mlp(y)) + self.scale * self.joint(y)

    def mask(self, tokens: int, added: int) -> Tensor | None:
        """``(l l)`` additive bias on the keys of the ``added`` tokens."""
        if self.bias is None:
            return None
        row = torch.cat([self.bias.new_zeros(tokens), self.bias[:added]])
        return row.expand(len(row), -1)
