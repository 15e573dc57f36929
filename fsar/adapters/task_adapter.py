"""Task-Adapter: the frozen attention used twice more, over the frames of a clip and over the clips of a task; and over
the steps of a class in the text tower.

Cao et al. 2024, "Task-Adapter: Task-specific Adaptation of Image Models for Few-shot Action Recognition",
https://arxiv.org/abs/2408.00249, and 2025, "Task-Adapter++", https://arxiv.org/abs/2505.06002; formulas of the released
code, https://github.com/Jaulin-Bage/Task-Adapter-pp (MIT).
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from fsar.adapters.base import Adapter, Block, Bottleneck, Clip, Part, Tower, attend, attend_across, feed


class TaskAdapter(Adapter):
    """Four bottleneck adapters in every adapted block; with A one of them and the block's own MSA, MLP and norms::

        X <- X + A_T(MSA(LN1(X)))                 over the t frames, every token
        X <- X + H + A_S(H),  H = MSA(LN1(X))     over the tokens of a frame
        X <- X + A_task(MSA(LN1(X)))              over the clips of the call, every frame and token
        X <- X + MLP(Y) + A_J(Y),  Y = LN2(X)

    Args:
        ratio: channels between, as a part of the tower's width.
        frames: ``t`` of the learned frame embeddings, which start at zero and are added before the tower's first norm;
            0 for none.
        across_clips: let the clips of a call see each other, as released: support and query clips each among
            themselves, so that a query's features depend on the other queries. Otherwise every clip is alone, and the
            third attention passes its own values on.
        published_start: leave the output weights of A_task as they are drawn, as released (its zeroing looks for a name
            that they do not have); otherwise the tower is CLIP at first.

    1,186,560 trained weights a block of ViT-B/16, counting frame embeddings once.

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in TaskAdapter().part(0, tower).parameters())
    8512
    """

    frames_first = True

    def __init__(
        self, ratio: float = 0.25, frames: int = 8, across_clips: bool = False, published_start: bool = False
    ) -> None:
        self.ratio = ratio
        self.frames = frames or None
        self.across_clips = across_clips
        self.published_start = published_start

    def part(self, index: int, tower: Tower) -> Part:
        part = TaskPart(tower.width, round(tower.width * self.ratio), self.across_clips)
        if self.published_start:
            part.task.up.reset_parameters()
        return part


class TaskPart(Part):
    """What :class:`TaskAdapter` adds to one block."""

    def __init__(self, width: int, hidden: int, across_clips: bool) -> None:
        super().__init__()
        self.temporal, self.spatial, self.task, self.joint = (Bottleneck(width, hidden) for _ in range(4))
        self.across_clips = across_clips

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`."""
        frames, tokens = clip.frames, x.shape[1]
        over = attend_across(block, rearrange(x, "(b t) l d -> (b l) t d", t=frames))
        x = x + self.temporal(rearrange(over, "(b l) t d -> (b t) l d", l=tokens))
        h = attend(block, x)
        x = x + h + self.spatial(h)
        clips = len(x) // frames if self.across_clips else 1
        across = attend_across(block, rearrange(x, "(b n) l d -> (n l) b d", b=clips))
        x = x + self.task(rearrange(across, "(n l) b d -> (b n) l d", l=tokens))
        return x + feed(block, x) + self.joint(block.ln_2(x))


class OrderAdapter(nn.Module):
    """A frozen text tower whose last blocks show the steps of a class to each other, in their order::

        X <- X + MSA(LN1(X)) within each sentence;  X <- X + A_O(MSA(LN1(X))) over the steps, every place, no mask
        X <- X + MLP(LN2(X))

    131,712 trained weights a block of ViT-B/16's text tower at the default ratio.

    Args:
        width: of the text tower.
        blocks: how many last blocks are adapted.
        ratio: channels between, as a part of the width.
    """

    def __init__(self, width: int, blocks: int, ratio: float = 0.25) -> None:
        super().__init__()
        self.order = nn.ModuleList(Bottleneck(width, round(width * ratio)) for _ in range(blocks))

    def forward(self, tower: Any, tokens: Tensor) -> Tensor:
        """Features ``(C m d)`` of token ids ``(C m l)`` of the m steps of each class.

        Args:
            tower: a text transformer of open_clip, its attention causal and its last token the largest id.
            tokens: int64.
        """
        steps, ids = tokens.shape[1], tokens.flatten(0, 1)
        x = tower.token_embedding(ids) + tower.positional_embedding[: ids.shape[-1]]
        mask = tower.attn_mask[: ids.shape[-1], : ids.shape[-1]]
        plain = len(tower.transformer.resblocks) - len(self.order)
        for index, block in enumerate(tower.transformer.resblocks):
            x = x + attend(block, x, mask)
            if index >= plain:
                over = attend(block, rearrange(x, "(c m) l d -> (c l) m d", m=steps))
                x = x + self.order[index - plain](rearrange(over, "(c l) m d -> (c m) l d", l=x.shape[1]))
            x = x + feed(block, x)
        last = tower.ln_final(x)[torch.arange(len(x)), ids.argmax(-1)]
        return (last @ tower.text_projection).unflatten(0, (-1, steps))
