"""Tip-Adapter and APE against the outputs of the authors' code, and APE-T's identities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from episodes.episode import Episode
from fsar.methods import APE, APET, TipAdapter, TipAdapterF
from fsar.methods.clip_family.ape import ape_logits, channel_scores, kept_channels, spread_channels, take_channels
from fsar.methods.clip_family.pooled import AdamWSettings
from fsar.methods.clip_family.tip_adapter import tip_logits

Make = Callable[..., Episode]


@pytest.fixture(params=["case0", "case1", "case2"])
def case(request: pytest.FixtureRequest, reference: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
    return reference("ape", request.param)


def test_reproduces_the_released_channels(case: dict[str, Tensor]) -> None:
    weights = tuple(case["w"].tolist())
    text, count = case["text_weights"].T, int(case["n_channels"])
    with_keys = channel_scores(text, weights, case["cache_keys"], case["cache_values"])
    assert torch.equal(kept_channels(with_keys, count), case["channels_text_and_cache"])
    assert torch.equal(kept_channels(channel_scores(text, weights), count), case["channels_text_only"])


def test_reproduces_the_released_logits(case: dict[str, Tensor]) -> None:
    query, text, keys, values = case["query"], case["text_weights"].T, case["cache_keys"], case["cache_values"]
    alpha, beta, gamma = (float(case[name]) for name in ("alpha", "beta", "gamma"))
    ape = ape_logits(query, text, keys, values, case["channels_text_and_cache"], alpha, beta, gamma)
    torch.testing.assert_close(ape, case["ape_logits"], rtol=1e-5, atol=5e-5)
    tip = tip_logits(query, text, keys, values, float(case["tip_alpha"]), float(case["tip_beta"]))
    torch.testing.assert_close(tip, case["tip_logits"], rtol=1e-5, atol=5e-5)
    torch.testing.assert_close(100 * query @ text.T, case["zero_shot_logits"], rtol=1e-5, atol=5e-5)


def test_methods_reproduce_the_released_logits(case: dict[str, Tensor], make_encoder: Callable[[Tensor], Any]) -> None:
    """From class texts and clips of one frame, through the whole method."""
    classes, shots = case["text_weights"].shape[1], int(case["shots"])
    encoder = make_encoder(case["text_weights"].T)
    episode = Episode(
        case["cache_keys"][:, None],
        case["query"][:, None],
        torch.arange(classes).repeat_interleave(shots),
        torch.zeros(len(case["query"]), dtype=torch.int64),
        torch.arange(classes),
        tuple(map(str, range(classes))),
        torch.tensor(0),
    )
    ape = APE(encoder, int(case["n_channels"]), alpha=2.2, beta=1.7, gamma=0.15, criterion="episode")
    torch.testing.assert_close(ape(episode).logits, case["ape_logits"], rtol=1e-5, atol=1e-4)
    tip = TipAdapter(encoder, alpha=1.0, beta=5.5)
    torch.testing.assert_close(tip(episode).logits, case["tip_logits"], rtol=1e-5, atol=1e-4)


def test_the_criterion_is_the_quadruple_loop() -> None:
    text, keys = torch.randn(4, 6).double(), torch.randn(11, 6).double()
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3])
    values = torch.nn.functional.one_hot(labels, 4).double()
    samples = [torch.cat([text[c : c + 1], keys[labels == c]]) for c in range(4)]
    total, count = torch.zeros(6).double(), 0
    for i in range(4):
        for j in range(4):
            if i == j:
                continue
            for x in samples[i]:
                for y in samples[j]:
                    total, count = total + x * y, count + 1
    expected = -0.7 * total / count + 0.3 * text.var(0)
    torch.testing.assert_close(channel_scores(text, (0.7, 0.3), keys, values), expected)


def test_channels_are_taken_and_put_back() -> None:
    x, channels = torch.randn(2, 3, 8), torch.stack([torch.tensor([1, 4, 6]), torch.tensor([0, 2, 7])])
    taken = take_channels(x, channels)
    assert torch.equal(taken[1, 2], x[1, 2, [0, 2, 7]])
    back = spread_channels(taken, channels, 8)
    assert torch.equal(take_channels(back, channels), taken)
    assert int((back != 0).sum()) == taken.numel()


def test_channels_come_from_the_classes_named(encoder: Any, make_episode: Make) -> None:
    episode = make_episode()
    text, labels = encoder.text.features, torch.nn.functional.one_hot(episode.support_labels, 5).float()
    unit = torch.nn.functional.normalize(text, dim=-1)
    keys = torch.nn.functional.normalize(episode.support["frames"].mean(1), dim=-1)

    def chosen(**options: Any) -> Tensor:
        return APE(encoder, 9, **options).choose(unit, episode, keys, labels)

    expected = {
        "split_text": channel_scores(unit, (0.7, 0.3)),
        "episode_text": channel_scores(unit[episode.classes], (0.7, 0.3)),
        "episode": channel_scores(unit[episode.classes], (0.7, 0.3), keys, labels),
    }
    for criterion, scores in expected.items():
        assert torch.equal(chosen(criterion=criterion), kept_channels(scores, 9))
    some = chosen(channel_classes=["3", "5", "8"])
    assert torch.equal(some, kept_channels(channel_scores(unit[[3, 5, 8]], (0.7, 0.3)), 9))
    with pytest.raises(ValueError, match="channel_classes speaks for"):
        APE(encoder, criterion="episode", channel_classes=["3"])
    with pytest.raises(ValueError, match=r"must lie in 1\.\.16"):
        APE(encoder, 17)(episode)


def test_without_steps_ape_t_is_tip_adapter(encoder: Any, make_episode: Make) -> None:
    episode = make_episode(shots=3)
    tip = TipAdapter(encoder, alpha=1.3, beta=2.5)(episode).logits
    torch.testing.assert_close(APET(encoder, 9, alpha=1.3, beta=2.5, steps=0)(episode).logits, tip)
    torch.testing.assert_close(TipAdapterF(encoder, alpha=1.3, beta=2.5, steps=0)(episode).logits, tip)


def test_without_the_cache_both_are_zero_shot(encoder: Any, make_episode: Make) -> None:
    episode = make_episode()
    zero_shot = TipAdapter(encoder, alpha=0.0)(episode).logits
    torch.testing.assert_close(APE(encoder, 9, alpha=0.0)(episode).logits, zero_shot)
    assert not torch.allclose(APE(encoder, 9)(episode).logits, zero_shot)


def test_the_cache_alone_is_the_nearest_neighbour_of_one_shot(encoder: Any, make_episode: Make) -> None:
    episode = make_episode(shots=1, queries=6)
    similarity = torch.cosine_similarity(
        episode.query["frames"].mean(1)[:, None], episode.support["frames"].mean(1)[None], dim=-1
    )
    nearest = episode.support_labels[similarity.argmax(-1)]
    guess = TipAdapter(encoder, alpha=1e6, beta=5.0)(episode).logits.argmax(-1)
    assert guess.tolist() == nearest.tolist()


def test_frame_keys_of_still_clips_are_clip_keys(encoder: Any, make_episode: Make) -> None:
    episode = make_episode()
    episode.support["frames"][:] = episode.support["frames"][:, :1]
    clip, frame = (TipAdapter(encoder, beta=3.0, keys=keys)(episode).logits for keys in ("clip", "frame"))
    torch.testing.assert_close(clip, frame)


def test_fine_tuned_keys_fit_the_support_frames(encoder: Any, make_episode: Make) -> None:
    episode = make_episode(shots=2)
    options: dict[str, Any] = {
        "temperature": 1.0,
        "train_alpha": 5.0,
        "alpha": 5.0,
        "optimizer": AdamWSettings(lr=0.02),
    }
    frames = episode.support["frames"].flatten(0, 1)[:, None]
    on_frames = Episode(
        episode.support,
        frames.expand(-1, 8, -1),
        episode.support_labels,
        episode.support_labels.repeat_interleave(8),
        episode.classes,
        episode.class_names,
        episode.number,
    )
    for make in (TipAdapterF, lambda encoder, **o: APET(encoder, 16, **o)):
        losses = [
            float(method.loss(method(on_frames), on_frames)["loss"])
            for method in (make(encoder, steps=steps, **options) for steps in (0, 40))
        ]
        assert losses[1] < 0.8 * losses[0]


def test_ape_t_has_few_parameters(encoder: Any, make_episode: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(
        "fsar.methods.clip_family.ape.fit_each",
        lambda parameters, *rest: counted.append(sum(p.numel() for p in parameters)),
    )
    APET(encoder, 9)(make_episode(shots=3))
    assert counted == [5 * 9 + 5 * 3]
