"""The ladder side network of TS-FSAR: a narrow ViT beside the frozen one, which also looks along time.

Long et al. 2025, "Task-Specific Distance Correlation Matching for Few-Shot Action Recognition",
https://arxiv.org/abs/2512.11340; released code https://github.com/yaozhang0417/TS-FSAR. The idea of a ladder beside a
frozen network: Sung et al. 2022, https://arxiv.org/abs/2206.06522.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from fsar.adapters.base import Block, Side, SideNetwork, Tower


class Ladder(Side):
    """Down-projected states of every layer, mixed step by step into narrow pre-norm blocks::

        d_i = W_i LN_i(h_i)                                        i = 0 (before the first block) .. L
        s   = σ(g_i / 0.1) Block_i(s) + (1 - σ(g_i / 0.1)) d_i     s = d_0 at first, i = 1 .. L

    Args:
        width: channels of the side network.
        heads: of its attention.
        temporal: blocks, counted from 0, that attend over the frames of each token instead of the tokens of a frame.
        init: "default", or "pca": every weight of the side blocks starts as the tower's own, reduced by
            :func:`pruned`, biases and norms resampled, as published.

    12,053,004 trained weights beside ViT-B at the defaults. Any number of frames.

    >>> from fsar.encoders import Beside, ClipEncoder
    >>> encoder = Beside(ClipEncoder("fsar-tiny", "shapes"), Ladder(width=8, heads=2, temporal=[2]))
    >>> encoder(torch.zeros(1, 8, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        width: int = 256,
        heads: int = 4,
        temporal: Sequence[int] = (6, 8, 10),
        init: Literal["default", "pca"] = "default",
    ) -> None:
        if width % heads:
            raise ValueError(f"Ladder: heads={heads} must divide width={width}.")
        self.width = width
        self.heads = heads
        self.temporal = tuple(temporal)
        self.init = init

    def network(self, tower: Tower, blocks: nn.ModuleList | nn.Sequential) -> LadderNetwork:
        if any(not 0 <= i < tower.layers for i in self.temporal):
            raise ValueError(
                f"Ladder: temporal={list(self.temporal)} names blocks of a tower that has {tower.layers}, counted "
                "from 0."
            )
        network = LadderNetwork(tower, self.width, self.heads, self.temporal)
        if self.init == "pca":
            for side, block in zip(network.blocks, blocks, strict=True):
                start_from(side, block)  # type: ignore[arg-type]
        return network


class LadderNetwork(SideNetwork):
    """What :class:`Ladder` puts beside the tower: the class token of every frame, and its patches."""

    gives = ("frames", "patches")

    def __init__(self, tower: Tower, width: int, heads: int, temporal: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(range(tower.layers + 1))
        self.channels = width
        self.norms = nn.ModuleList(nn.LayerNorm(tower.width) for _ in self.layers)
        self.downs = nn.ModuleList(nn.Linear(tower.width, width, bias=False) for _ in self.layers)
        self.blocks = nn.ModuleList(SideBlock(width, heads, i in temporal) for i in range(tower.layers))
        self.gates = nn.Parameter(torch.zeros(tower.layers))

    def forward(self, states: tuple[Tensor, ...], blocks: nn.ModuleList | nn.Sequential) -> Tensor:
        """The class token of every frame, see :meth:`fsar.adapters.base.SideNetwork.forward`."""
        return self.tokens(states)[:, :, 0]

    def features(self, states: tuple[Tensor, ...], blocks: nn.ModuleList | nn.Sequential) -> dict[str, Tensor]:
        """``frames (b t e)`` and ``patches (b t p e)``."""
        tokens = self.tokens(states)
        return {"frames": tokens[:, :, 0], "patches": tokens[:, :, 1:]}

    def tokens(self, states: tuple[Tensor, ...]) -> Tensor:
        """All tokens, class token first: ``(b t 1+p e)`` from one ``(b t 1+p D)`` per layer."""
        downs = [down(norm(h)) for h, norm, down in zip(states, self.norms, self.downs, strict=True)]
        s = downs[0]
        for block, gate, d in zip(self.blocks, (self.gates / 0.1).sigmoid(), downs[1:], strict=True):
            s = gate * block(s) + (1 - gate) * d
        return s


class SideBlock(nn.Module):
    """A pre-norm block over the tokens of each frame, or over the frames of each token.

    Args:
        width: channels.
        heads: of the attention.
        temporal: attend over the frames.
    """

    def __init__(self, width: int, heads: int, temporal: bool) -> None:
        super().__init__()
        self.heads, self.temporal = heads, temporal
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, s: Tensor) -> Tensor:
        """``(b t l e)`` to the same."""
        a = self.norm_1(s)
        a = a.transpose(1, 2) if self.temporal else a
        q, k, v = rearrange(self.qkv(a), "b x y (three h c) -> three b x h y c", three=3, h=self.heads)
        a = self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "b x h y c -> b x y (h c)"))
        s = s + (a.transpose(1, 2) if self.temporal else a)
        return s + self.proj(F.gelu(self.fc(self.norm_2(s))))


@torch.no_grad()
def start_from(side: SideBlock, block: Block) -> None:
    """Gives a side block the pruned weights of a block of the tower ("pruned CLIP")."""
    start_attention(side.qkv.weight, side.qkv.bias, side.out, block)
    for ours, theirs in ((side.fc, block.mlp.c_fc), (side.proj, block.mlp.c_proj)):
        ours.weight.copy_(pruned(theirs.weight, *ours.weight.shape))
        ours.bias.copy_(resampled(theirs.bias, len(ours.bias)))
    for norm, source in ((side.norm_1, block.ln_1), (side.norm_2, block.ln_2)):
        norm.weight.copy_(resampled(source.weight, len(norm.weight)))
        norm.bias.copy_(resampled(source.bias, len(norm.bias)))


@torch.no_grad()
def start_attention(weight: Tensor, bias: Tensor, out: nn.Linear, block: Block) -> None:
    """Gives an attention's ``(3c c)`` weight and ``(3c)`` bias of q, k and v, and its ``out``, those of a block."""
    width = out.out_features
    for ours, theirs in zip(weight.chunk(3), block.attn.in_proj_weight.chunk(3), strict=True):
        ours.copy_(pruned(theirs, width, width))
    for ours, theirs in zip(bias.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True):
        ours.copy_(resampled(theirs, width))
    out.weight.copy_(pruned(block.attn.out_proj.weight, width, width))
    out.bias.copy_(resampled(block.attn.out_proj.bias, width))


def pruned(weight: Tensor, rows: int, columns: int) -> Tensor:
    """``(o i)`` to ``(rows columns)``, as published: one side by principal components, the other cut off.

    With at least as many rows as columns, the rows' coordinates on their ``columns`` strongest principal axes, and the
    first of the rows; otherwise the same of the transposed weight, which reduces the outputs and cuts the inputs.
    The release takes scikit-learn's randomised solver at the size of ViT-B, so that no two of its runs start alike;
    here it is always the exact one, with scikit-learn's choice of signs.
    """
    if rows > weight.shape[0] or columns > weight.shape[1]:
        raise ValueError(
            f"init='pca' cannot make {rows} x {columns} weights out of {tuple(weight.shape)}: give the ladder a "
            "smaller width, or init='default'."
        )
    if rows < columns:
        return principal(weight.mT, rows).mT[:, :columns]
    return principal(weight, columns)[:rows]


def principal(rows: Tensor, components: int) -> Tensor:
    """``(r c)`` to the coordinates ``(r components)`` of its centred rows on their strongest principal axes."""
    centred = rows.double() - rows.double().mean(0)
    axes = torch.linalg.eigh(centred.mT @ centred).eigenvectors.flip(-1)[:, :components]  # the strongest first
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return (centred @ (axes * largest.sign())).float()


def resampled(vector: Tensor, size: int) -> Tensor:
    """``(i)`` to ``(size)`` by bicubic interpolation."""
    image = vector.float()[None, None, None]
    return F.interpolate(image, size=(1, size), mode="bicubic", align_corners=False)[0, 0, 0]
