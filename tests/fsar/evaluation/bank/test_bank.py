"""Encoding every video once gives what scoring episode by episode from pixels gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from episodes.clips import Features, Streams, as_clips
from episodes.dataset import index_episodes
from episodes.episode import Episode, IndexEpisode, VideoBatch
from episodes.views import Views
from fsar.alignment import OTAM
from fsar.encoders.tower.text_tower import TextTooLong
from fsar.evaluation.bank import Scoring, VideoBank, feature_key, score_episodes, scoring
from fsar.evaluation.bank import videos as kept_videos
from fsar.evaluation.metrics import EpisodeAccuracy
from fsar.evaluation.provenance import tell_scoring
from fsar.method import Method
from fsar.methods import ClipFSAR, Prototype
from tests.fsar.evaluation.bank.bank_world import (
    CHANNELS,
    FRAMES,
    LABELS,
    METHODS,
    NAMES,
    VIDEOS,
    OwnEncoding,
    Text,
    bank_of,
    clips,
    encoder,
    sampler,
)


@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_encode_once_equals_episode_by_episode(name: str, shots: int) -> None:
    method, pixels, numbers = METHODS[name]().eval(), clips(), np.arange(40)
    episodes = index_episodes(sampler(shots), numbers)
    together = score_episodes(bank_of(method, pixels), episodes)
    alone, accuracy_alone, accuracy_together = [], EpisodeAccuracy(), EpisodeAccuracy()
    for number in numbers:
        episode = episodes.map(lambda x, i=int(number): x[i])
        pixel = {role: pixels[getattr(episode, role)] for role in ("support", "query")}
        alone.append(method(Episode(**{**vars(episode), **pixel})).logits)
        accuracy_alone.update(alone[-1], episode.query_labels)
    accuracy_together.update(together.logits, episodes.query_labels)
    torch.testing.assert_close(together.logits, torch.stack(alone), rtol=1e-4, atol=1e-4)
    assert torch.equal(together.logits.argmax(-1), torch.stack(alone).argmax(-1))
    assert accuracy_together.compute() == pytest.approx(accuracy_alone.compute(), rel=1e-12)
    assert 0.1 < accuracy_together.compute().mean < 1  # neither trivial nor broken


@pytest.mark.parametrize(("name", "roles"), [("prototype", 1), ("two roles", 2)])
def test_every_video_is_encoded_once_in_each_role_that_differs(name: str, roles: int) -> None:
    method = METHODS[name]().eval()
    bank = bank_of(method, clips())
    score_episodes(bank, index_episodes(sampler(1), np.arange(100)))
    assert bank.forwards == roles * VIDEOS
    assert method.encoder.visual.frames == roles * VIDEOS * FRAMES


@pytest.mark.parametrize("name", ["clip_fsar after", "prototype"])
@torch.no_grad()
def test_stored_features_score_as_pixels_do(name: str) -> None:
    method, pixels = METHODS[name]().eval(), clips()
    episodes = index_episodes(sampler(2), np.arange(50))
    stored = bank_of(method, method.encode(Streams(frames=pixels)))
    expected = score_episodes(bank_of(method, pixels), episodes).logits
    torch.testing.assert_close(score_episodes(stored, episodes).logits, expected, rtol=1e-5, atol=1e-5)
    assert stored.forwards == 0


def score_views(method: Method, several: Tensor, episodes: IndexEpisode, average: str) -> Tensor:
    """Logits of videos in views ``(v m t c h w)``, in a loop over the views."""
    text, count = method.class_text(NAMES), several.shape[1]
    found = []
    for group in [range(count)] if average == "features" else [[i] for i in range(count)]:
        made = {}
        for role, classes in (("support", episodes.support_classes), ("query", episodes.query_classes)):
            given = (text[classes],) if role == "support" and method.text_conditioned else ()
            numbers = getattr(episodes, role)
            each = [method.encode(Streams(frames=several[numbers, i]), *given)["frames"] for i in group]
            made[role] = Features(frames=torch.stack(each).mean(0))
        support = method.support_parts(made["support"], text[episodes.support_classes])
        found.append(method.score(support, method.query_parts(made["query"]), episodes, text).logits)
    return torch.stack(found).mean(0)


@pytest.mark.parametrize("average", ["features", "scores"])
@pytest.mark.parametrize("name", ["clip_fsar after", "clip_fsar text", "prototype", "two roles"])
@torch.no_grad()
def test_several_views_are_those_of_a_loop(name: str, average: Any) -> None:
    method, pixels = METHODS[name]().eval(), clips()
    several = torch.stack([pixels, 255 - pixels // 2, pixels.flip(1)], dim=1)
    views, episodes = Views(clips=3, average=average), index_episodes(sampler(2), np.arange(20))
    bank, kept = VideoBank(method, keep=lambda numbers, features: kept.append(features)), list[Features]()
    for some in torch.randperm(VIDEOS, generator=torch.Generator().manual_seed(2)).split(7):
        bank.add(VideoBatch(some, as_clips(several[some], "several"), LABELS[some], NAMES, views))
    expected = score_views(method, several, episodes, average)
    torch.testing.assert_close(score_episodes(bank, episodes).logits, expected, rtol=1e-4, atol=1e-4)
    assert kept[0]["frames"].shape == (7, 3, FRAMES, CHANNELS)  # a cache keeps every view
    assert bank.videos == list(range(VIDEOS))
    text = Text()(NAMES)
    mean = method.encode(Streams(frames=several))["frames"].mean((1, 2))
    floor = bank.zero_shot(episodes)
    assert floor is not None
    wanted = cosine_similarity(mean[episodes.query][:, :, None], text[episodes.classes][:, None], dim=-1)
    torch.testing.assert_close(floor, wanted, rtol=1e-4, atol=1e-4)


def test_scores_in_bfloat16_begin_with_those_of_float32_and_say_how_many_are_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(scoring, "COMPARED", 10)
    method, episodes = METHODS["clip_fsar before"]().eval(), index_episodes(sampler(3), np.arange(30))
    bank, score = bank_of(method, clips()), Scoring("bf16")
    expected = score_episodes(bank, episodes)
    for flags, units in (("fpu avx2", False), ("fpu avx512_bf16", True)):
        (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags : {flags}\n")
        if not units:
            with pytest.raises(ValueError, match="has none of avx512_bf16, amx_bf16"):
                score.check(torch.device("cpu"))
        Scoring().check(torch.device("cpu"))
    score.check(torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):  # as a trainer in bf16-mixed has it
        found = score(bank, episodes)
    for one, other in zip(vars(found).values(), vars(expected).values(), strict=True):
        if other is not None:
            assert one.dtype == torch.float32
            assert torch.equal(one[:10], other[:10])
            assert not torch.equal(one[10:], other[10:])
            torch.testing.assert_close(one[10:], other[10:], rtol=0.02, atol=0.02 * float(other.abs().max()))
    said = score.record()["scoring"]
    assert (said["precision"], said["compared"]) == ("bf16", 10 * episodes.query.shape[1])
    assert 0.9 < said["same_predictions"] <= 1
    assert said["times_float32"] > 0
    calls: list[float] = []
    monkeypatch.setattr(
        scoring, "score_episodes", lambda *x: (calls.append(1.0 if calls else 9.0), score_episodes(*x))[1]
    )
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: sum(calls))
    score(bank, episodes)
    assert score.record()["scoring"]["times_float32"] == 1  # what a first call sets up is not in it
    assert score.record()["scoring"]["compared"] == 0  # the next evaluation counts anew
    assert Scoring().record() == {}
    assert torch.equal(Scoring()(bank, episodes).logits, expected.logits)
    results = [{"scoring": {"same_predictions": same, "compared": 500}} for same in (0.996, 1.0)]
    assert "99.80 % of 1,000 predictions are float32's: score in float32" in tell_scoring(results)
    told = [
        tell_scoring([{"scoring": {"same_predictions": 1.0, "compared": 5, "times_float32": ratio}}])
        for ratio in (1.5, 0.6)
    ]
    assert "and it took 1.5 times as long: score in float32" in told[0]
    assert told[1].endswith("are float32's")
    assert tell_scoring([{}]) == ""


@pytest.mark.parametrize("name", ["clip_fsar after", "clip_fsar text"])
def test_groups_and_averages_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = METHODS[name]().eval()
    bank, episodes = bank_of(method, clips()), index_episodes(sampler(3), np.arange(30))
    expected = score_episodes(bank, episodes)
    monkeypatch.setattr(kept_videos, "GROUP_BYTES", 20_000)
    assert 1 < bank.group_size(episodes) < 30
    found = score_episodes(bank, episodes)
    torch.testing.assert_close(found.logits, expected.logits)
    assert bank.averages_shots
    bank.averages_shots = False
    torch.testing.assert_close(score_episodes(bank, episodes).few_shot, expected.few_shot)


@torch.no_grad()
def test_supports_in_any_order_are_averaged_by_their_labels() -> None:
    method, pixels = METHODS["prototype"]().eval(), clips()
    episodes = index_episodes(sampler(2), np.arange(10))
    order = torch.tensor([3, 9, 0, 7, 2, 5, 1, 8, 6, 4])
    shuffled: IndexEpisode = replace(
        episodes, support=episodes.support[:, order], support_labels=episodes.support_labels[:, order]
    )
    bank = bank_of(method, pixels)
    torch.testing.assert_close(score_episodes(bank, shuffled).logits, score_episodes(bank, episodes).logits)


@torch.no_grad()
def test_the_zero_shot_floor_is_the_cosine_with_every_class_of_the_episode() -> None:
    method, pixels = METHODS["prototype"]().eval(), clips()
    episodes = index_episodes(sampler(1), np.arange(10))
    bank = bank_of(method, pixels)
    score_episodes(bank, episodes)
    means, text = method.encode(Streams(frames=pixels))["frames"].mean(-2), method.encoder.text(NAMES)
    expected = cosine_similarity(means[episodes.query][:, :, None], text[episodes.classes][:, None], dim=-1)
    torch.testing.assert_close(bank.zero_shot(episodes), expected)
    wider = Features(frames=torch.randn(2, FRAMES, CHANNELS + 1))  # such as features before CLIP's projection
    assert kept_videos.text_cosines(method, wider, NAMES) is None


def test_names_too_long_for_the_text_cost_the_floor_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def refuse(*_: object) -> Tensor:
        nonlocal asked
        asked += 1
        raise TextTooLong("The text 'a photo of x'... has 300 tokens")

    method, pixels = METHODS["prototype"]().eval(), clips()
    episodes = index_episodes(sampler(1), np.arange(10))
    wanted = score_episodes(bank_of(method, pixels), episodes).logits
    monkeypatch.setattr(Text, "per_template", refuse)
    with pytest.warns(UserWarning, match=r"no accuracy of the class names alone .* The text 'a photo of x'"):
        bank = bank_of(method, pixels)  # several batches
    torch.testing.assert_close(score_episodes(bank, episodes).logits, wanted)
    assert bank.zero_shot(episodes) is None
    assert asked == 1


def test_a_video_that_was_not_encoded_is_an_error() -> None:
    method = METHODS["prototype"]().eval()
    bank = VideoBank(method)
    bank.add(VideoBatch(torch.arange(3), clips()[:3], LABELS[:3], NAMES))
    with pytest.raises(RuntimeError, match="names a video that was not encoded"):
        score_episodes(bank, index_episodes(sampler(1), np.arange(3)))
    gap = VideoBank(method)
    gap.add(VideoBatch(torch.tensor([0, VIDEOS - 1]), clips()[:2], LABELS[:2], NAMES))
    with pytest.raises(RuntimeError, match="names a video that was not encoded"):
        score_episodes(gap, index_episodes(sampler(1), np.arange(3)))
    with pytest.raises(RuntimeError, match="no video was encoded on this process"):
        VideoBank(method).close()


def test_what_features_cannot_serve_is_refused() -> None:
    both = METHODS["two roles"]()
    with pytest.raises(ValueError, match="TwoRoles encodes a support clip together with the name"):
        feature_key(both)
    with pytest.raises(ValueError, match=r"Leave out data\.features"):
        VideoBank(both).add(VideoBatch(torch.arange(2), torch.zeros(2, FRAMES, CHANNELS), LABELS[:2], NAMES))


def test_the_feature_key_names_the_weights() -> None:
    torch.manual_seed(0)
    first = Prototype(encoder(), OTAM())
    torch.manual_seed(0)
    second = ClipFSAR(encoder(), OTAM())
    assert feature_key(first) == feature_key(second)
    torch.manual_seed(0)
    assert feature_key(OwnEncoding(encoder(), OTAM())) != feature_key(first)
    for trained in (False, True):
        second.encoder.visual.requires_grad_(trained)
        before = feature_key(second)
        with torch.no_grad():
            next(second.encoder.visual.parameters())[0, 0] += 1
        assert feature_key(second) != before


def test_the_feature_key_of_an_encode_of_ones_own_names_its_weights() -> None:
    torch.manual_seed(0)
    own = OwnEncoding(encoder(), OTAM())
    own.head = nn.Linear(2, 2)
    before = feature_key(own)
    with torch.no_grad():
        own.head.weight[0, 0] += 1
    assert feature_key(own) != before
