"""Sight and sound against a loop over queries and classes, some of whose clips have no track."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from episodes.clips import Features, Streams
from episodes.episode import Episode
from fsar.alignment import Alignment, FrameMean
from fsar.encoders import AudioEncoder, ClipEncoder, WithSound
from fsar.methods import Prototype, SightAndSound
from fsar.training.joining import check_sound

WAYS, SHOTS, QUERIES = 3, 2, 4


@pytest.fixture(scope="module")
def method() -> SightAndSound:
    torch.manual_seed(0)
    sound = AudioEncoder(channels=64, rate=4000, window=200, hop=80, mels=16)
    return SightAndSound(WithSound(ClipEncoder("fsar-tiny", "shapes"), sound), FrameMean()).eval()


def episode(silent_support: list[int], silent_query: list[int]) -> Episode:
    g = torch.Generator().manual_seed(1)
    clips = WAYS * SHOTS + QUERIES
    frames, sound = torch.randn(clips, 4, 64, generator=g), torch.randn(clips, 5, 64, generator=g)
    sound[[*silent_support, *(WAYS * SHOTS + i for i in silent_query)]] = 0
    labels = torch.arange(WAYS).repeat_interleave(SHOTS)
    split = WAYS * SHOTS
    return Episode(
        Features(frames=frames[:split], sound=sound[:split]),
        Features(frames=frames[split:], sound=sound[split:]),
        labels,
        torch.tensor([0, 1, 2, 0]),
        torch.arange(WAYS),
        ("a", "b", "c"),
        torch.tensor(0),
    )


def test_the_mean_over_senses_that_both_have(method: SightAndSound) -> None:
    some = episode(silent_support=[0, 4, 5], silent_query=[1])  # a class with one track, one with none
    logits = method(some).logits
    for q in range(QUERIES):
        for c in range(WAYS):
            torch.testing.assert_close(logits[q, c], expected(method.alignment, some, q, c))


def expected(alignment: Alignment, some: Episode, q: int, c: int) -> Tensor:
    def similarity(query: Tensor, clips: Tensor) -> Tensor:
        return alignment(query[None], clips.mean(0, keepdim=True)).squeeze()

    members = some.support_labels == c
    seen = similarity(some.query["frames"][q], some.support["frames"][members])
    tracks = [x for x in some.support["sound"][members] if x.any()]
    if not tracks or not some.query["sound"][q].any():
        return seen
    return (seen + similarity(some.query["sound"][q], torch.stack(tracks))) / 2


def test_without_any_track_sight_alone_decides(method: SightAndSound) -> None:
    some = episode(list(range(WAYS * SHOTS)), [])
    other = replace(some, query=Features(frames=some.query["frames"], sound=torch.zeros(QUERIES, 5, 64)))
    torch.testing.assert_close(method(some).logits, method(other).logits)
    assert method(some).logits.isfinite().all()


def test_a_clip_without_a_track_has_sound_of_zeros_and_no_gradient(method: SightAndSound) -> None:
    sound = torch.rand(2, 2000) - 0.5
    sound[1] = torch.nan
    clips = Streams(frames=torch.zeros(2, 2, 3, 64, 64, dtype=torch.uint8), sound=sound)
    found = method.encoder.features(clips, ("frames", "sound"))["sound"]
    assert found[0].any()
    assert not found[1].any()
    alone = method.encoder.features(clips.at(slice(0, 1)), ("frames", "sound"))["sound"]
    torch.testing.assert_close(found[:1], alone)
    found.sum().backward()
    assert all(x.grad is None or x.grad.isfinite().all() for x in method.parameters())
    with pytest.raises(ValueError, match=r"set data\.sound_rate to 4000"):
        method.encoder.features(Streams(frames=clips["frames"]), ("sound",))


def test_the_key_of_the_encoder_covers_the_sound(method: SightAndSound) -> None:
    encoder = method.encoder
    assert not encoder.frozen
    before = encoder.fingerprint(trained=True), encoder.fingerprint()
    with torch.no_grad():
        next(encoder.sound.parameters()).add_(1)  # type: ignore[union-attr]
    assert encoder.fingerprint(trained=True) != before[0]
    assert encoder.fingerprint() == before[1]


def test_sound_at_another_rate_is_refused_when_joined(method: SightAndSound) -> None:
    check_sound(method, 4000)
    with pytest.raises(ValueError, match=r"data\.sound_rate is 16000, but SightAndSound .* 4000 samples a second"):
        check_sound(method, 16000)
    with pytest.raises(ValueError, match=r"data\.sound_rate is not given.*set data\.sound_rate to 4000"):
        check_sound(method, None)
    check_sound(Prototype(method.encoder, FrameMean()), None)  # reads frames alone
