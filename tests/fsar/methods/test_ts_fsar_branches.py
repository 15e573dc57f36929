"""TS-FSAR's text branches, losses and descriptors: written out, and against the released code's numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from episodes.clips import Features, Streams, combined
from episodes.episode import Episode
from fsar.adapters import Ladder
from fsar.alignment import alpha_covariance
from fsar.encoders import ClipEncoder
from fsar.methods import TSFSAR
from fsar.methods.ts_fsar import TSScores

Tiny = Callable[..., ClipEncoder]
Pixels = Callable[..., Episode]
Reference = Callable[..., dict[str, Tensor]]


@pytest.fixture
def method(tiny: Tiny) -> TSFSAR:
    return TSFSAR(tiny(), Ladder(width=16, heads=2, temporal=(1,)), train_classes=6)


@pytest.mark.parametrize("residual", [0.4, 1.6])
def test_frames_keep_two_minus_rho_of_themselves(method: TSFSAR, residual: float) -> None:
    method.text_residual, clip = residual, torch.randn(2, 5, 48)
    normed = method.clip_norm(clip)
    mixed, _ = method.clip_attention(normed, normed, normed)
    torch.testing.assert_close(method.over_frames(clip), 2 * clip + residual * (mixed - clip))


def text_logits(method: TSFSAR, clips: Streams, text: Tensor) -> dict[str, Tensor]:
    """``100 cos`` of both branches, from pixels."""
    features = method.encode(clips)
    videos = {
        "side": method.up(features["frames"]).mean(-2),
        "clip": method.over_frames(features["tower"]).mean(-2),
    }
    return {name: 100 * torch.cosine_similarity(x[:, None], text, dim=-1) for name, x in videos.items()}


def test_text_logits_are_a_hundred_cosines(method: TSFSAR, pixels: Pixels) -> None:
    episode, text = pixels(), normalize(torch.randn(6, 48), dim=-1)
    clips = combined(torch.cat, [episode.support, episode.query])
    with torch.no_grad():
        expected = text_logits(method, clips, text)
        scores = method.train()(episode, text)
        assert isinstance(scores, TSScores)
        torch.testing.assert_close(scores.side_text, expected["side"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(scores.clip_text, expected["clip"], rtol=1e-4, atol=1e-4)
        method.eval()
        for name, fusion in (("clip", (0.0, 1.0, 0.0)), ("side", (0.0, 0.0, 1.0))):
            method.fusion = fusion
            wanted = expected[name][len(episode.support_labels) :, episode.classes].softmax(-1)
            torch.testing.assert_close(method(episode, text).probabilities, wanted, rtol=1e-3, atol=1e-4)


def test_text_branches_of_supports_are_for_training_alone(method: TSFSAR, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features(frames=torch.randn(2, 8, 16), patches=torch.randn(2, 8, 64, 16), tower=torch.randn(2, 8, 48))
    everything = method.train().support_parts(features, None)
    assert set(everything) == {"frames", "video", "side", "clip"}
    for branch in ("up", "clip_attention"):
        monkeypatch.setattr(getattr(method, branch), "forward", None)  # may not be called
    (frames,) = method.eval().support_parts(features, None).values()
    assert torch.equal(frames, everything["frames"])
    descriptors = alpha_covariance(features["frames"], features["patches"])
    assert torch.equal(frames, torch.cat([descriptors, features["frames"]], dim=-1))
    assert torch.equal(everything["video"], descriptors.mean(-2))


@pytest.mark.parametrize("case", ["case0", "case1"])
def test_losses_reproduce_the_released_code(method: TSFSAR, reference: Reference, case: str) -> None:
    arrays = reference("ts_fsar", case)
    episode = Episode(
        torch.empty(len(arrays["support_labels"]), 0),
        torch.empty(len(arrays["query_labels"]), 0),
        arrays["support_labels"],
        arrays["query_labels"],
        arrays["classes"],
        tuple(map(str, range(7))),
        torch.tensor(0),
    )
    metric = arrays["metric_logits"]
    texts = {"side_text": arrays["side_text_logits"], "clip_text": arrays["clip_text_logits"]}
    scores = TSScores(metric, metric, arrays["class_logits"], **texts)
    _, *weights = arrays["weights"].tolist()  # that of the metric is 1
    method.class_weight, method.side_weight, method.guidance_weight = weights
    method.guidance_temperature = float(arrays["temperature"])
    losses = method.loss(scores, episode)
    expected = {"few_shot_loss": "metric_loss", "class_loss": "class_loss", "side_loss": "side_text_loss"}
    for ours, theirs in expected.items():
        torch.testing.assert_close(losses[ours], arrays[theirs], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses["guidance"], arrays["kl_loss"] + arrays["clip_text_loss"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses["loss"], arrays["loss"], rtol=1e-5, atol=1e-5)


def test_the_loss_asks_the_clip_branch_to_teach_the_classifier(method: TSFSAR, pixels: Pixels) -> None:
    method.detach_teacher = True
    episode, metric = pixels(), torch.randn(6, 3)
    student, side, teacher = (torch.randn(9, 6, requires_grad=True) for _ in range(3))
    method.guidance = lambda one, other: (one * 2).sum() + (other * 3).sum()  # type: ignore[method-assign]
    method.class_weight, method.side_weight, method.guidance_weight = 0.0, 0.0, 1.0
    method.loss(TSScores(metric, metric, student, side_text=side, clip_text=teacher), episode)["loss"].backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.full((9, 6), 2.0))


def test_descriptors_reproduce_the_released_code(reference: Reference) -> None:
    arrays = reference("ts_fsar", "case0")
    tokens = arrays["side_tokens_first"]
    expected = arrays["descriptors"][0]
    torch.testing.assert_close(alpha_covariance(tokens[:, 0], tokens[:, 1:]), expected, rtol=1e-5, atol=1e-5)
