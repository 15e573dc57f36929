"""The weights of a frozen tower in fewer bits: bfloat16, or int8 on a CPU.

Int8 holds the linear layers alone. A row of a weight has a scale of its own and 7 bits, so that no sum of two products
leaves 16 bits on processors that add up in these (those without VNNI saturate in silence). What enters is rounded to 8
bits between its least and largest number in a frame, so that no frame depends on those beside it. Sums are exact.
"""

from __future__ import annotations

from functools import cached_property
from math import isfinite
from typing import Any, Literal

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

Precision = Literal["fp32", "bf16", "int8"]


def hold_in(precision: Precision, visual: nn.Module, tune: str | int, size: int, name: str) -> None:
    """Changes the weights of a frozen tower; the statistics of batches stay as they are.

    Args:
        precision: "fp32" leaves them.
        visual: the tower.
        tune: what of it is to be trained.
        size: of its frames, pixels.
        name: of the tower, for messages.

    Raises:
        ValueError: the weights are to be trained, or there are no linear layers for int8.
    """
    if precision == "fp32":
        return
    if tune != "frozen":
        bits = {"bf16": "8 bits of mantissa", "int8": "7 bits"}[precision]
        raise ValueError(
            f"precision={precision!r} holds the weights in {bits}, too coarse for tune={tune!r} to step in. "
            f"Train with precision='fp32' (and trainer.precision=bf16-mixed on a GPU)."
        )
    if precision == "int8":
        _hold_in_int8(visual, size, name)
        return
    visual.to(torch.bfloat16)
    for module in visual.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.float()


def refuse_int8(visual: nn.Module, reader: str) -> None:
    """Adapters and networks beside a tower read its weights, and pass gradients through them.

    Raises:
        ValueError: for a tower that is held in int8.
    """
    if any(isinstance(module, Int8Linear) for module in visual.modules()):
        raise ValueError(
            f"{reader} reads the tower's weights, which precision='int8' rounds: use precision='bf16' or 'fp32'."
        )


class Int8Linear(nn.Module):
    """A linear layer with a weight in int8. It is a CPU's, and no gradient flows through it."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale = (weight.detach().float().abs().amax(1) / 63).clamp(min=1e-12)
        self.register_buffer("scale", scale)
        self.register_buffer("weight", (weight.detach().float() / scale[:, None]).round().to(torch.int8))
        self.register_buffer("bias", None if bias is None else bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """``(b * c)`` to ``(b * d)``, float32.

        Raises:
            ValueError: a gradient is wanted of ``x``.
        """
        if torch.is_grad_enabled() and x.requires_grad:
            raise ValueError("precision='int8' passes no gradient to the pixels: use precision='fp32' or 'bf16'.")
        return torch.stack([self._one(each) for each in x.float()])

    def _one(self, x: Tensor) -> Tensor:
        low, high = torch.stack(torch.aminmax(x)).tolist()
        low, high = min(low, 0.0), max(high, 0.0)
        if not isfinite(high - low):
            return x.new_full((*x.shape[:-1], len(self.weight)), torch.nan)
        step = max(high - low, 1e-30) / 254
        zero = round(-low / step)
        rows = torch.add(x.new_tensor(zero), x.reshape(-1, x.shape[-1]), alpha=1 / step).round_().to(torch.uint8)
        packed, zeros = self._packed
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows, step, zero, packed, self.scale, zeros, self.bias, 1.0, 0, torch.float32, "none", [], ""
        )
        return out.reshape(*x.shape[:-1], -1)

    @cached_property
    def _packed(self) -> tuple[Tensor, Tensor]:
        """The weight in the order in which the processor reads it, and zeros for the rows."""
        packed: Tensor = torch.ops.onednn.qlinear_prepack(self.weight, None)
        return packed, torch.zeros(len(self.weight), dtype=torch.int32)

    def _apply(self, fn: Any, recurse: bool = True) -> Int8Linear:
        self.__dict__.pop("_packed", None)
        super()._apply(fn, recurse)
        if self.weight.device.type != "cpu":
            raise ValueError(
                f"precision='int8' is made for CPUs, and the encoder was to move to {self.weight.device}: use "
                "precision='bf16' there, or trainer.accelerator=cpu."
            )
        return self

    def _load_from_state_dict(self, *how: Any) -> None:
        self.__dict__.pop("_packed", None)
        super()._load_from_state_dict(*how)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}


class Int8Attention(nn.Module):
    """Self-attention ``(b l d)`` of open_clip's blocks over :class:`Int8Linear`."""

    def __init__(self, stock: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.embed_dim = stock.num_heads, stock.embed_dim
        self.qkv = Int8Linear(stock.in_proj_weight, stock.in_proj_bias)
        self.out_proj = Int8Linear(stock.out_proj.weight, stock.out_proj.bias)

    def forward(self, query: Tensor, *same: Tensor, attn_mask: Tensor | None = None, **_: bool) -> tuple[Tensor, None]:
        """As the stock module where query, key and value are one, without the weights."""
        q, k, v = self.qkv(query).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def _hold_in_int8(visual: nn.Module, size: int, name: str) -> None:
    """Puts :class:`Int8Linear` at the place of every linear layer that is called, which those are not whose weight
    another module reads."""
    if not torch.backends.mkldnn.is_available():
        raise ValueError("precision='int8' needs oneDNN, which this torch lacks: use precision='fp32'.")
    own = getattr(visual, "own_input", None)  # of a network that says itself
    black = own(size) if own else torch.zeros(1, 3, size, size)
    called: set[nn.Module] = set()
    linear = [module for module in visual.modules() if type(module) is nn.Linear]
    hooks = [module.register_forward_hook(lambda module, *_: called.add(module)) for module in linear]
    with torch.no_grad():
        visual.eval()(black)
    for hook in hooks:
        hook.remove()
    for module in list(visual.modules()):
        if isinstance(module, ResidualAttentionBlock) and not hasattr(module, "ln_1_kv"):
            module.attn = Int8Attention(module.attn)
        for place, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child in called:
                setattr(module, place, Int8Linear(child.weight, child.bias))
    if not any(isinstance(module, Int8Linear) for module in visual.modules()):
        raise ValueError(
            f"precision='int8' holds linear layers, and {name} has none: use precision='bf16' (on a CPU with units for "
            "it, or a GPU) or 'fp32'."
        )
