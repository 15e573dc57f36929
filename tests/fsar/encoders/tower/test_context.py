"""Learned context vectors on the text tower."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fsar.encoders import ClipEncoder, TextEncoder
from fsar.encoders.tower.context import LearnedContext

NAMES = ["surfing", "walking with a dog", "yoga"]


@pytest.fixture
def text() -> TextEncoder:
    encoder = ClipEncoder("test-plain", None)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.require_text()


def words_of(text: TextEncoder, words: str) -> torch.Tensor:
    tower: Any = text.tower
    return tower.token_embedding(text.tokenize([words])[0, 1 : text.length(words) - 1])


@pytest.mark.parametrize(
    ("position", "sentence"),
    [("end", "a photo of a {}."), ("front", "{} a photo of a."), ("middle", "a photo {} of a.")],
)
def test_the_embeddings_of_words_give_the_features_of_the_sentence(
    text: TextEncoder, position: Any, sentence: str
) -> None:
    context = LearnedContext(text, words="a photo of a", position=position)
    assert context.vectors.shape == (4, 32)
    expected = text.encode([sentence.replace("{}", name) for name in NAMES])
    torch.testing.assert_close(context(text, NAMES), expected, rtol=0, atol=1e-5)


def test_gradients_reach_the_context_and_nothing_else(text: TextEncoder) -> None:
    context = LearnedContext(text, length=3)
    context(text, NAMES).sum().backward()
    assert bool((context.vectors.grad.abs().sum(-1) > 0).all())
    assert all(p.grad is None for p in text.parameters())


def test_the_shared_context_is_small(text: TextEncoder) -> None:
    assert sum(p.numel() for p in LearnedContext(text, length=16).parameters()) == 16 * 32


def test_a_shift_for_each_image(text: TextEncoder) -> None:
    context, shift = LearnedContext(text, length=3), 0.1 * torch.randn(2, 32)
    shifted = context(text, NAMES, shift)
    assert shifted.shape == (2, 3, 40)
    moved = LearnedContext(text, length=3)
    with torch.no_grad():
        moved.vectors.copy_(context.vectors + shift[1])
    torch.testing.assert_close(shifted[1], moved(text, NAMES), rtol=0, atol=1e-5)


def test_too_long_prompts_are_refused(text: TextEncoder) -> None:
    longest = LearnedContext(text, length=20)
    assert longest(text, ["yoga"]).shape == (1, 40)  # 1 + 20 + 1 + "." + 1 = 24
    with pytest.raises(ValueError, match=r"'walking with a dog' with 20 context vectors has 27 tokens.*reads 24"):
        longest(text, NAMES)


def test_class_specific_contexts_are_refused_for_unseen_classes(text: TextEncoder) -> None:
    context = LearnedContext(text, length=3, classes=NAMES)
    assert context.vectors.shape == (3, 3, 32)
    assert context(text, NAMES[::-1]).shape == (3, 40)
    with torch.no_grad():
        before = context(text, NAMES)
        context.vectors[1] += torch.randn(3, 32)
        changed = (context(text, NAMES) - before).abs().sum(-1) > 1e-3
    assert changed.tolist() == [False, True, False]
    with pytest.raises(ValueError, match=r"says nothing about 'juggling'.*never seen in training"):
        context(text, ["yoga", "juggling"])


def test_other_towers_are_refused(text: TextEncoder) -> None:
    text.tower.attn_mask = None
    with pytest.raises(ValueError, match=r"test-plain has no attn_mask"):
        LearnedContext(text)
