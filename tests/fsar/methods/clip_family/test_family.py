"""What every member of the family keeps to: batches, permutations, relabelling, determinism."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from episodes.clips import Features, Streams
from episodes.episode import Episode, IndexEpisode, VideoBatch
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.method import Method
from fsar.methods import (
    APE,
    APET,
    Clip4Clip,
    LinearProbe,
    NearestNeighbour,
    SimpleShot,
    TipAdapter,
    TipAdapterF,
    TipAdapterViews,
    ZeroShot,
)

MEMBERS: dict[str, Callable[[Any], Method]] = {
    "zero_shot": ZeroShot,
    "zero_shot_probability": lambda encoder: ZeroShot(encoder, ensemble="probability", pooling="logit_mean"),
    "nearest": NearestNeighbour,
    "simple_shot": SimpleShot,
    "logistic": lambda encoder: LinearProbe(encoder, 3.0),
    "ridge": lambda encoder: LinearProbe(encoder, 3.0, solver="ridge"),
    "tip_adapter": lambda encoder: TipAdapter(encoder, alpha=2.0, beta=3.0),
    "tip_adapter_frames": lambda encoder: TipAdapter(encoder, alpha=2.0, beta=3.0, keys="frame"),
    "tip_adapter_f": lambda encoder: TipAdapterF(encoder, steps=5, alpha=2.0, temperature=10.0),
    "ape": lambda encoder: APE(encoder, 10),
    "ape_episode": lambda encoder: APE(encoder, 10, criterion="episode"),
    "ape_t": lambda encoder: APET(encoder, 10, steps=5, temperature=10.0),
    "clip4clip_mean": lambda encoder: Clip4Clip(encoder, "mean"),
    "clip4clip_lstm": lambda encoder: Clip4Clip(encoder, "lstm", against="support"),
    "clip4clip_transformer": lambda encoder: Clip4Clip(encoder, "transformer", init_from_text=False),
    "clip4clip_tight": lambda encoder: Clip4Clip(encoder, "tight", depth=1),
}


@pytest.fixture(params=MEMBERS)
def method(request: pytest.FixtureRequest, encoder: Any) -> Method:
    return MEMBERS[request.param](encoder).eval()


Make = Callable[..., Episode]


@pytest.mark.parametrize("shots", [1, 3])
def test_a_batch_of_episodes_scores_as_each_alone(method: Method, make_episode: Make, shots: int) -> None:
    episodes = [make_episode(shots=shots, seed=i) for i in range(6)]
    with torch.no_grad():
        together = method(Episode.stack(episodes))
        alone = [method(episode) for episode in episodes]
    torch.testing.assert_close(together.logits, torch.stack([s.logits for s in alone]), rtol=1e-4, atol=1e-4)
    assert together.logits.shape == (6, 10, 5)


def test_two_leading_axes(method: Method, make_episode: Make) -> None:
    flat = Episode.stack([make_episode(seed=i) for i in range(4)])
    with torch.no_grad():
        nested = method(flat.map(lambda x: x.unflatten(0, (2, 2))))
        torch.testing.assert_close(nested.logits.flatten(0, 1), method(flat).logits, rtol=1e-4, atol=1e-4)


def test_relabelled_classes_permute_the_logits(method: Method, make_episode: Make, checks: Any) -> None:
    episode, order = make_episode(), torch.tensor([3, 1, 4, 0, 2])  # old label -> new label
    with torch.no_grad():
        torch.testing.assert_close(
            method(checks.relabelled(episode, order)).logits[:, order], method(episode).logits, rtol=1e-4, atol=1e-4
        )


def test_the_order_of_supports_does_not_matter(method: Method, make_episode: Make) -> None:
    episode, order = make_episode(shots=3), torch.randperm(15)
    moved = Episode(
        episode.support.at(order),
        episode.query,
        episode.support_labels[order],
        episode.query_labels,
        episode.classes,
        episode.class_names,
        episode.number,
    )
    with torch.no_grad():
        torch.testing.assert_close(method(moved).logits, method(episode).logits, rtol=1e-4, atol=1e-4)


def test_classes_may_have_different_numbers_of_shots(method: Method, make_episode: Make) -> None:
    episode = make_episode(shots=3, shuffle=False)
    fewer = Episode(
        episode.support.at(slice(2, None)),
        episode.query,
        episode.support_labels[2:],
        episode.query_labels,
        episode.classes,
        episode.class_names,
        episode.number,
    )
    with torch.no_grad():
        assert torch.isfinite(method(fewer).logits).all()


def test_queries_do_not_see_each_other(method: Method, make_episode: Make) -> None:
    episode, other = make_episode(), make_episode()
    other.query["frames"][1:] = torch.randn_like(other.query["frames"][1:])
    with torch.no_grad():
        torch.testing.assert_close(method(episode).logits[0], method(other).logits[0], rtol=1e-4, atol=1e-4)


def test_scoring_leaves_no_trace(method: Method, make_episode: Make) -> None:
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.inference_mode():
        first, second = method(make_episode()), method(make_episode())
    assert torch.equal(first.logits, second.logits)
    assert not first.logits.requires_grad
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


@pytest.mark.parametrize("shots", [1, 3])
def test_episodes_of_stored_videos_score_as_episodes_of_features(method: Method, shots: int) -> None:
    videos, names = torch.randn(48, 8, 16), tuple(str(i) for i in range(12))
    labels = torch.arange(12).repeat_interleave(4)
    bank = VideoBank(method)
    for some in torch.randperm(48).split(20):
        bank.add(VideoBatch(some, videos[some], labels[some], names))
    bank.close()
    classes = torch.stack([torch.randperm(12)[:5] for _ in range(7)])
    clips = classes[..., None] * 4 + torch.stack([torch.randperm(4) for _ in range(35)]).unflatten(0, (7, 5))  # e n 4
    index = IndexEpisode(
        clips[..., :shots].flatten(1),
        clips[..., 3].contiguous(),
        torch.arange(5).repeat_interleave(shots).expand(7, -1),
        torch.arange(5).expand(7, -1),
        classes,
        names,
        torch.arange(7),
    )
    with torch.no_grad():
        expected = method(Episode(**{**vars(index), "support": videos[index.support], "query": videos[index.query]}))
    torch.testing.assert_close(score_episodes(bank, index).logits, expected.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["nearest", "simple_shot", "logistic", "ridge"])
def test_methods_without_words_need_no_text_tower(name: str, blind: Any, make_episode: Make) -> None:
    assert MEMBERS[name](blind)(make_episode()).logits.shape == (10, 5)


@pytest.mark.parametrize("name", ["zero_shot", "tip_adapter", "ape", "clip4clip_mean"])
def test_methods_with_words_refuse_an_encoder_without_text(name: str, blind: Any) -> None:
    with pytest.raises(ValueError, match="no text tower"):
        MEMBERS[name](blind)


def test_views_are_the_same_in_every_batch(encoder: Any) -> None:
    """Random crops are decided by the clip, and a query is encoded as it is."""

    class Means(torch.nn.Module):
        channels, text = 3, encoder.text

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return clips.float().mean((-2, -1))

        def features(self, clips: Streams, needs: tuple[str, ...], text: object = None) -> Features:
            return Features(frames=self(clips["frames"]))

    method = TipAdapterViews(Means(), views=3, flip=True)  # type: ignore[arg-type]
    clips = torch.randint(0, 256, (4, 2, 3, 16, 16), dtype=torch.uint8)
    text = torch.randn(4, 3)
    together = method.encode(Streams(frames=clips), text)["frames"]
    assert together.shape == (4, 2, 3)
    torch.testing.assert_close(
        torch.stack([method.encode(Streams(frames=clip), t)["frames"] for clip, t in zip(clips, text, strict=True)]),
        together,
    )
    assert torch.equal(method.encode(Streams(frames=clips))["frames"], Means()(clips))
    assert not torch.allclose(together, Means()(clips))
