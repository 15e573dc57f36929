"""The text encoder: templates, memory, length, gradients."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import Tensor, nn

from fsar.encoders import ClipEncoder, TextEncoder
from fsar.encoders.tower.text_tower import _tokenizer

NAMES = ["jumping rope", "sky diving", "walking with a dog"]


def counted(text: TextEncoder) -> list[int]:
    """How many texts each pass through the tower had."""
    passes: list[int] = []
    text.tower.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    return passes


def make(**options: object) -> TextEncoder:
    return ClipEncoder("test-plain", None, **options).require_text()


def test_default_template_equals_open_clip(network: nn.Module, weights: str) -> None:
    text = ClipEncoder("test-vit", weights, quick_gelu=False).require_text()
    tokens = open_clip.get_tokenizer("test-vit")([f"a photo of {name}" for name in NAMES])
    with torch.no_grad():
        torch.testing.assert_close(text(NAMES), network.encode_text(tokens), rtol=0, atol=1e-5)


def test_each_text_is_computed_once() -> None:
    text = make()
    passes = counted(text)
    first = text(NAMES)
    again = text([NAMES[2], NAMES[0], NAMES[0]])
    assert passes == [3]
    assert torch.equal(again, first[[2, 0, 0]])
    text([*NAMES, "surfing"])
    assert passes == [3, 1]


def test_batches_hold_the_texts_asked_for() -> None:
    text = make()
    text.texts_per_batch = 2
    passes = counted(text)
    text(NAMES)
    assert passes == [2, 1]


def test_memory_follows_the_weights() -> None:
    text, other = make(), make()
    with torch.no_grad():
        other.tower.text_projection.add_(1)
    before = text(NAMES)
    text.load_state_dict(other.state_dict())
    assert torch.equal(text(NAMES), other(NAMES))
    assert not torch.allclose(text(NAMES), before)


def test_memory_survives_a_move() -> None:
    text = make()
    passes = counted(text)
    before = text(NAMES)
    assert torch.equal(text.to("cpu").float()(NAMES), before)
    assert passes == [3]


def test_features_remembered_in_inference_mode_serve_in_training() -> None:
    text = make()
    with torch.inference_mode():
        text(NAMES)
    weight = torch.ones(text(NAMES).shape[-1], requires_grad=True)
    (text(NAMES) * weight).sum().backward()
    assert weight.grad is not None


def test_a_frozen_tower_gives_no_gradient() -> None:
    text = make().train()
    assert not text(NAMES).requires_grad
    assert not text.tower.training


def test_a_trained_tower_gets_gradients_and_no_stale_features() -> None:
    text = make(tune_text=True).train()
    assert text.tower.training
    with torch.no_grad():
        before = text(NAMES)
    features = text([*NAMES, NAMES[0]])
    assert torch.equal(features[0], features[3])
    features.square().sum().backward()
    optimiser = torch.optim.SGD(text.parameters(), lr=0.1)
    assert all(p.grad is not None for p in text.tower.parameters())
    optimiser.step()
    with torch.no_grad():
        assert not torch.allclose(text(NAMES), before)


def test_several_templates() -> None:
    templates = ["a photo of {}", "{}, a video", "someone is {}."]
    text = make(templates=templates)
    each = text.per_template(NAMES)
    assert each.shape == (3, 3, 40)
    filled = ["a photo of sky diving", "sky diving, a video", "someone is sky diving."]
    assert torch.equal(each[1], text.encode(filled))
    torch.testing.assert_close(text(NAMES), each.mean(dim=1))


def test_braces_in_a_name_are_only_text() -> None:
    assert torch.isfinite(make()(["moving {0} up"])).all()


@pytest.mark.parametrize("templates", ["a photo of {}", [], ["a photo"]])
def test_wrong_templates_are_refused(templates: list[str]) -> None:
    with pytest.raises(ValueError, match="templates must be a list"):
        make(templates=templates)


def test_text_that_does_not_fit_is_refused_and_the_longest_that_does_is_whole() -> None:
    text = make(templates=["{}"])
    longest = " ".join(["dog"] * 22)  # 24 with begin and end
    tokens = text.tokenize([longest])
    assert tokens.shape == (1, 24)
    assert (tokens != 0).all()
    with pytest.raises(ValueError, match=r"has 25 tokens, but test-plain reads 24"):
        text([longest + " cat"])
    with pytest.raises(ValueError, match="list of at least one text"):
        text([])
    with pytest.raises(ValueError, match="list of at least one text, found 'dog'"):
        text.encode("dog")


def test_a_tokenizer_that_is_not_cached_says_so() -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer of ViT-B-16-SigLIP is .* Set download to true"):
        _tokenizer("ViT-B-16-SigLIP", False)


def test_learned_context_reaches_the_tower() -> None:
    """What prompt learning needs: embeddings in, features out, gradients back, through the parts of the tower."""
    text = make()
    tower, tokens = text.tower, text.tokenize(["a photo of surfing"])
    context = torch.zeros(1, 2, 32, requires_grad=True)
    words: Tensor = tower.token_embedding(tokens)
    states = torch.cat([words[:, :1], words[:, 1:3] + context, words[:, 3:]], dim=1) + tower.positional_embedding
    states = tower.ln_final(tower.transformer(states, attn_mask=tower.attn_mask))
    feature = states[0, tokens.argmax()] @ tower.text_projection
    torch.testing.assert_close(feature[None], text(["surfing"]), rtol=0, atol=1e-5)
    feature.sum().backward()
    assert context.grad.abs().sum() > 0
