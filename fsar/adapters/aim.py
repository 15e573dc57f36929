"""AIM: the frozen attention used a second time, over the frames.

Yang et al. 2023, "AIM: Adapting Image Models for Efficient Video Action Recognition",
https://arxiv.org/abs/2302.03024, section 3.2-3.4; released code https://github.com/taoyang1122/adapt-image-models.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from fsar.adapters.base import Adapter, Block, Bottleneck, Clip, Part, Tower, attend, unplaced


class AIM(Adapter):
    """Three bottleneck adapters in every block; the tower is CLIP at first.

    With ``A`` a bottleneck, zero at first, ``Xt`` the frames of one token position, and the block's own MSA, MLP::

        X <- X + A_T(MSA(LN1(Xt)))                over the t frames, every token
        X <- X + H + A_S(H),  H = MSA(LN1(X))     over the tokens of a frame
        X <- X + MLP(Y) + scale · A_J(Y),  Y = LN2(X)

    Args:
        ratio: channels between, as a part of the tower's width.
        scale: of the joint adapter; 0.5 for Kinetics-400 and 1 for SSv2 in the paper.
        temporal_input: another adapter ``z + A_in(z)`` before the attention over frames, as released for SSv2.
        drop_path: largest probability that a clip skips the temporal and the joint adapter in training; it grows
            linearly with the depth. The released configurations have 0.2.
        frames: ``t`` of the learned frame embeddings, which start at zero; 0 for none.
        tune_norm: train the tower's closing norm too, as released.

    10,659,072 trained weights in ViT-B at the defaults, 14,209,536 with ``temporal_input``.

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in AIM().part(0, tower).parameters())  # in each of its blocks
    6384
    """

    def __init__(
        self,
        ratio: float = 0.25,
        scale: float = 1.0,
        temporal_input: bool = False,
        drop_path: float = 0.2,
        frames: int = 8,
        tune_norm: bool = True,
    ) -> None:
        self.ratio = ratio
        self.scale = scale
        self.temporal_input = temporal_input
        self.drop_path = drop_path
        self.frames = frames or None
        self.trained = ("ln_post.weight", "ln_post.bias") if tune_norm else ()

    def part(self, index: int, tower: Tower) -> Part:
        drop = self.drop_path * index / max(1, tower.layers - 1)
        return AIMPart(tower.width, round(tower.width * self.ratio), self.scale, self.temporal_input, drop)


class AIMPart(Part):
    """What :class:`AIM` adds to one block."""

    def __init__(self, width: int, hidden: int, scale: float, temporal_input: bool, drop: float) -> None:
        super().__init__()
        self.temporal_in = Bottleneck(width, hidden) if temporal_input else None
        self.temporal = Bottleneck(width, hidden)
        self.spatial = Bottleneck(width, hidden)
        self.joint = Bottleneck(width, hidden)
        self.scale = scale
        self.drop = drop

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`."""
        t = clip.frames
        x = x + self.kept(self.temporal(self.over_frames(block, x, t)), t)
        h = attend(block, x)
        x = x + h + self.spatial(h)
        y = block.ln_2(x)
        return x + block.ls_2(block.mlp(y)) + self.scale * self.kept(self.joint(y), t)

    def over_frames(self, block: Block, x: Tensor, frames: int) -> Tensor:
        """The block's attention over the frames of each token position, ``(b·t l D)`` to the same."""
        z = block.ln_1(rearrange(x, "(b t) l d -> (b l) t d", t=frames))
        if self.temporal_in is not None:
            z = z + self.temporal_in(z)
        z = block.ls_1(unplaced(block).attention(q_x=z))
        return rearrange(z, "(b l) t d -> (b t) l d", l=x.shape[1])

    def kept(self, branch: Tensor, frames: int) -> Tensor:
        """The branch with whole clips dropped at random in training (stochastic depth)."""
        if not self.training or self.drop == 0:
            return branch
        keep = torch.rand(len(branch) // frames, device=branch.device) >= self.drop
        return branch * (keep.repeat_interleave(frames).to(branch.dtype) / (1 - self.drop))[:, None, None]
