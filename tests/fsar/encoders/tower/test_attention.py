"""The quick attention equals the stock one, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fsar.encoders.tower.attention import SplitHeadAttention, split_heads


@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_stock_module(masked: bool) -> None:
    stock = nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.float64)
    nn.init.normal_(stock.in_proj_bias)
    quick = nn.Sequential(nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.float64))
    quick[0].load_state_dict(stock.state_dict())
    split_heads(quick)
    assert type(quick[0]) is SplitHeadAttention
    mask = torch.full((5, 5), float("-inf"), dtype=torch.float64).triu(1) if masked else None
    gradients = []
    for module in (stock, quick[0]):
        x = torch.linspace(-1, 1, 2 * 5 * 16, dtype=torch.float64).reshape(2, 5, 16).requires_grad_()
        out = module(x, x, x, need_weights=False, attn_mask=mask)[0]
        out.square().sum().backward()
        gradients.append(
            (out, x.grad, module.in_proj_weight.grad, module.in_proj_bias.grad, module.out_proj.weight.grad)
        )
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_other_uses_fall_back_to_the_stock_module() -> None:
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    split_heads(module)
    x, y = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    out, weights = module(x, y, y)
    assert out.shape == (1, 3, 8)
    assert weights.shape == (1, 3, 4)
