"""MA-CLIP: size, prototypes, what sees the text, loss and inference."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from episodes.episode import Episode
from fsar.adapters import MAClipAdapter
from fsar.alignment import OTAM
from fsar.encoders import ClipEncoder
from fsar.encoders.adapted import Adapted
from fsar.methods import MAClip
from fsar.objectives import both_directions
from fsar.temporal.tpcm import TPCM

Tiny = Callable[..., ClipEncoder]
Pixels = Callable[..., Episode]


def make(tiny: Tiny, **options: float) -> MAClip:
    return MAClip(Adapted(tiny(), MAClipAdapter(start_masked=False)), OTAM(), **options)


@pytest.mark.parametrize("masked", [False, True])
def test_published_number_of_trained_weights(masked: bool) -> None:
    method = MAClip(Adapted(ClipEncoder("ViT-B-32", None), MAClipAdapter(start_masked=masked)), OTAM())
    count = sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert count == 18_531_584 + 2 * 12 * masked


def test_tpcm_written_out() -> None:
    module, frames, text = TPCM(16, heads=2, hidden=32), torch.randn(8, 16), torch.randn(16)
    norm, attention = module.norm, module.attention
    nn.init.normal_(module.hidden_norm.weight)  # else the two norms are the same
    for words in (None, text):
        q = frames if words is None else frames + words
        kv = frames if words is None else torch.cat([words[None], frames])
        w_q, w_k, w_v = attention.in_proj_weight.chunk(3)
        heads = []
        for h in range(2):
            rows = slice(8 * h, 8 * h + 8)
            a = (norm(q) @ w_q[rows].T) @ (norm(kv) @ w_k[rows].T).T / 8**0.5  # the input biases are zero at first
            heads.append(a.softmax(-1) @ (norm(kv) @ w_v[rows].T))
        hidden = q + attention.out_proj(torch.cat(heads, dim=-1))
        first, _, second = module.feed_forward
        wide = first(module.hidden_norm(hidden))
        expected = hidden + second(wide * (1 + torch.erf(wide / 2**0.5)) / 2)  # GELU
        torch.testing.assert_close(module(frames, words), expected)


def test_tpcm_knows_no_order_and_takes_any_leading_axes() -> None:
    module, frames, text = TPCM(16, heads=2, hidden=32), torch.randn(2, 3, 8, 16), torch.randn(2, 3, 16)
    order = torch.randperm(8)
    torch.testing.assert_close(module(frames, text)[:, :, order], module(frames[:, :, order], text))
    torch.testing.assert_close(module(frames, text)[1, 2], module(frames[1, 2], text[1, 2]))
    with pytest.raises(ValueError, match="must divide"):
        TPCM(30)


def test_support_is_seen_with_the_text_of_its_own_class_alone(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = make(tiny, text_share=0.0).eval(), pixels()
    assert method.text_conditioned
    text = torch.randn(6, 48)
    changed = text.clone()
    changed[episode.classes[1]] = torch.randn(48)
    with torch.no_grad():
        before, after = method(episode, text).few_shot, method(episode, changed).few_shot
    torch.testing.assert_close(before[:, [0, 2]], after[:, [0, 2]], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before[:, 1], after[:, 1], atol=1e-4)
    assert not MAClip(tiny(), OTAM()).text_conditioned


def test_one_shot_prototypes_are_the_support_itself(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = make(tiny).eval(), pixels()
    text = torch.randn(6, 48)
    words = text[episode.support_classes]
    with torch.no_grad():
        support = method.tpcm(method.encode(episode.support, words)["frames"], words)
        query = method.tpcm(method.encode(episode.query)["frames"])
        torch.testing.assert_close(method(episode, text).few_shot, method.alignment(query, support))


def test_the_share_of_the_text_is_its_weight_unless_given(tiny: Tiny, pixels: Pixels) -> None:
    episode, text = pixels(), torch.randn(6, 48)
    with torch.no_grad():
        default, same, none, few_shot = (
            make(tiny, temperature=5.0, **options).eval()(episode, text)
            for options in (
                {"text_weight": 0.2},
                {"text_weight": 0.7, "text_share": 0.2},
                {"text_weight": 0.2, "text_share": 0.0},
                {"text_weight": 0.0},
            )
        )
    torch.testing.assert_close(default.probabilities, same.probabilities)
    torch.testing.assert_close(none.probabilities, few_shot.few_shot.softmax(-1))
    assert not torch.allclose(default.probabilities, none.probabilities, atol=1e-3)


def test_loss_and_inference_mix_with_alpha(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = make(tiny, text_weight=0.25, text_share=0.75, temperature=20.0), pixels()
    text = torch.randn(6, 48)
    words = F.normalize(text[episode.classes], dim=-1)
    support = method.encode(episode.support, text[episode.support_classes])["frames"].mean(1)
    query = method.encode(episode.query)["frames"].mean(1)
    s2t, q2t = (20 * F.normalize(x, dim=-1) @ words.T for x in (support, query))
    one_hot = [F.one_hot(x, 3).bool() for x in (episode.support_labels, episode.query_labels)]
    contrast = (both_directions(s2t, one_hot[0]) + both_directions(q2t, one_hot[1])) / 2
    scores = method.train()(episode, text)
    losses = method.loss(scores, episode)
    torch.testing.assert_close(losses["video_text_loss"], contrast, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses["loss"], 0.25 * contrast + 0.75 * losses["few_shot_loss"], rtol=1e-4, atol=1e-4)
    final = copy.deepcopy(method).eval()(episode, text)
    mixed = 0.75 * q2t.softmax(-1) + 0.25 * final.few_shot.softmax(-1)
    torch.testing.assert_close(final.probabilities, mixed, rtol=1e-4, atol=1e-5)
