"""Sequence models: parameters, masks, identities."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fsar.temporal.sequence import (
    BlockStack,
    PreNormBlock,
    SequenceLSTM,
    SequenceTransformer,
    TightTransformer,
    pool_frames,
)


def test_papers_sizes() -> None:
    assert sum(p.numel() for p in SequenceLSTM(512).parameters()) == 2_101_248
    six = SequenceTransformer(512, depth=6)
    assert sum(p.numel() for p in six.parameters()) == 18_953_728
    assert six.resblocks[0].attn.num_heads == 8


def test_a_block_is_the_equation() -> None:
    block, x = PreNormBlock(16, 2).double(), torch.randn(3, 5, 16).double()
    attended = block.attn(block.ln_1(x), block.ln_1(x), block.ln_1(x), need_weights=False)[0]
    y = x + attended
    z = block.mlp[0](block.ln_2(y))
    expected = y + block.mlp[2](z * torch.sigmoid(1.702 * z))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("make", [SequenceLSTM, lambda d: SequenceTransformer(d, depth=2)])
def test_padding_is_inert(make: type[nn.Module]) -> None:
    model, frames = make(16), torch.randn(2, 6, 16)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    padded = pool_frames(model(frames, mask), mask)
    torch.testing.assert_close(padded[0], pool_frames(model(frames[0, :4])))
    torch.testing.assert_close(padded[1], pool_frames(model(frames[1])))
    frames[0, 4:] = 100.0
    torch.testing.assert_close(pool_frames(model(frames, mask), mask), padded)


def test_tight_padding_and_pairs() -> None:
    model, text, frames = TightTransformer(16, depth=2), torch.randn(3, 16), torch.randn(2, 6, 16)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    similarity = model(text, frames, mask)
    assert similarity.shape == (2, 3)
    torch.testing.assert_close(similarity[0, 1], model(text[1:2], frames[:1, :4])[0, 0])
    torch.testing.assert_close(similarity[1, 2], model(text[2:], frames[1:])[0, 0])


def test_order_is_seen() -> None:
    frames, order = torch.randn(6, 16), torch.tensor([5, 4, 3, 2, 1, 0])
    for model in (SequenceLSTM(16), SequenceTransformer(16)):
        assert not torch.allclose(pool_frames(model(frames[order])), pool_frames(model(frames)), atol=1e-4)
    torch.testing.assert_close(pool_frames(frames[order]), pool_frames(frames))


def test_zero_init_starts_as_the_identity_but_for_positions() -> None:
    stack, frames = BlockStack(16, depth=3, zero_init=True), torch.randn(2, 6, 16)
    torch.testing.assert_close(stack(frames), frames + stack.positions[:6])


def test_clips_longer_than_the_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="has 9 tokens, but there are 8 positions"):
        SequenceTransformer(16, positions=8)(torch.randn(2, 9, 16))
    with pytest.raises(ValueError, match="heads=3 must divide"):
        SequenceTransformer(16, heads=3)
