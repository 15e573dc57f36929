"""LoRA: low-rank changes of the tower's own weights.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import register_parametrization

from fsar.adapters.base import Adapter, Block, Clip, Part, Tower

_PROJECTIONS = ("qkv", "q_proj", "k_proj", "v_proj", "q", "k", "v", "kv", "query", "key", "value", "in_proj_weight")


class LoRA(Adapter):
    """``W <- W + (alpha / rank) B A`` with ``B`` zero at first; a frame that saw itself alone still does.

    In a ViT of open_clip they are weights of its blocks; in any other network, of images or of whole clips, they are
    found by kind (:meth:`change`).

    Args:
        rank: of the change.
        alpha: factor of the change, as published divided by the rank.
        target: "qkv", the three input projections of the attention, each with its own change; "mlp", the layers of
            the feed-forward part; or "all": in a ViT of open_clip both, in any other network every linear layer and
            every convolution without groups.

    >>> tower = Tower(width=64, heads=2, layers=4, hidden=256, grid=(4, 4), channels=64)
    >>> sum(p.numel() for p in LoRA(rank=4).part(0, tower).parameters())  # in each of its blocks
    1536
    """

    def __init__(self, rank: int = 8, alpha: float = 16.0, target: Literal["qkv", "mlp", "all"] = "qkv") -> None:
        if rank < 1:
            raise ValueError(f"LoRA: rank must be 1 at least, found {rank}.")
        self.rank = rank
        self.alpha = alpha
        self.target = target

    def part(self, index: int, tower: Tower) -> Part:
        shapes = {}  # weight: how many changes stand on top of each other, rows and columns of each
        if self.target in ("qkv", "all"):
            shapes["attn.in_proj_weight"] = (3, tower.width, tower.width)
        if self.target in ("mlp", "all"):
            shapes["mlp.c_fc.weight"] = (1, tower.hidden, tower.width)
            shapes["mlp.c_proj.weight"] = (1, tower.width, tower.hidden)
        return LoRAPart(shapes, self.rank, self.alpha / self.rank)

    def change(self, network: nn.Module, name: str) -> None:
        """Lay changes upon weights of a network, wherever they are used.

        Args:
            network: or the blocks of one that are to be changed.
            name: of the network, for the message.

        Raises:
            ValueError: it has no weights of the kind.
        """
        found = list(find_weights(network, self.target))
        if not found:
            raise ValueError(
                f"LoRA: target={self.target!r} finds nothing in {name}. Use target='all', which takes every linear "
                "layer and every convolution without groups."
            )
        for module, weight, stacked in found:
            shape = module.get_parameter(weight).shape
            register_parametrization(module, weight, LowRank(shape, stacked, self.rank, self.alpha / self.rank))


def find_weights(network: nn.Module, target: str) -> Iterator[tuple[nn.Module, str, int]]:
    """Modules of a network, the name of their weight, and of how many matrices on top of each other it is made.

    Args:
        network: of any library.
        target: as in :class:`LoRA`.
    """
    for path, module in network.named_modules():
        *above, last = path.split(".")
        inside = target == "all" or (target == "mlp" and _of_mlp(above))
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None and target != "mlp":
            yield module, "in_proj_weight", 3
        elif isinstance(module, nn.Linear) and (inside or (target == "qkv" and last in _PROJECTIONS)):
            yield module, "weight", {"qkv": 3, "kv": 2, "w12": 2}.get(last, 1)
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and inside and module.groups == 1:
            yield module, "weight", 1


def _of_mlp(above: list[str]) -> bool:
    """Whether a layer is one of the feed-forward part; transformers calls its two layers ``intermediate`` and
    ``output``, and the last one of an attention ``output`` too."""
    own = "intermediate" in above or ("output" in above and not any("attention" in name for name in above))
    return own or "mlp" in above


class LowRank(nn.Module):
    """A weight with its change: a convolution's is seen as a matrix, a row for each channel out.

    Args:
        shape: of the weight.
        stacked: matrices on top of each other, each with its own change.
        rank: of each.
        scale: of each.
    """

    def __init__(self, shape: torch.Size, stacked: int, rank: int, scale: float) -> None:
        super().__init__()
        columns = shape[1:].numel()
        self.scale = scale
        self.a = nn.Parameter(torch.randn(stacked, rank, columns) * columns**-0.5)
        self.b = nn.Parameter(torch.zeros(stacked, shape[0] // stacked, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight to the same shape."""
        return weight + (self.scale * (self.b @ self.a)).reshape(weight.shape).to(weight.dtype)


class LoRAPart(Part):
    """What :class:`LoRA` adds to one block."""

    def __init__(self, shapes: dict[str, tuple[int, int, int]], rank: int, scale: float) -> None:
        super().__init__()
        self.names = list(shapes)
        self.scale = scale
        self.a = nn.ParameterList(torch.randn(n, rank, i) * i**-0.5 for n, _, i in shapes.values())
        self.b = nn.ParameterList(torch.zeros(n, o, rank) for n, o, _ in shapes.values())

    def forward(self, block: Block, x: Tensor, clip: Clip) -> Tensor:
        """See :meth:`fsar.adapters.base.Part.forward`."""
        out: Tensor = functional_call(block, self.weights(block), (x,))
        return out

    def weights(self, block: Block) -> dict[str, Tensor]:
        """The block's weights with their changes, by name."""
        changed = {}
        for name, a, b in zip(self.names, self.a, self.b, strict=True):
            weight = block.get_parameter(name)
            changed[name] = weight + (self.scale * (b @ a).flatten(0, 1)).to(weight.dtype)
        return changed
