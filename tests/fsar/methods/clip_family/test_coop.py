"""CoOp and CoCoOp: training, files, refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from episodes.episode import Episode
from fsar.encoders import ClipEncoder
from fsar.methods import CoCoOp, CoOp, ZeroShot
from fsar.text import TextBank

NAMES = ("surfing", "yoga", "juggling balls", "sky diving", "swimming")


def episode_of(seed: int = 0, ways: int = 3) -> Episode:
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(ways)
    return Episode(
        torch.randn(ways, 2, 64, generator=g),
        torch.randn(ways, 2, 64, generator=g),
        labels,
        labels,
        torch.randperm(5, generator=g)[:ways],
        NAMES,
        torch.tensor(seed),
    )


def test_words_for_a_context_are_zero_shot(clip: ClipEncoder) -> None:
    episode = episode_of()
    expected = ZeroShot(clip, texts=TextBank(["a photo of a {}."]))(episode).logits
    with torch.no_grad():
        logits = CoOp(clip, words="a photo of a").eval()(episode).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("make", [CoOp, CoCoOp])
def test_learns_one_episode_and_leaves_the_encoder_alone(clip: ClipEncoder, make: type[CoOp]) -> None:
    method, episode = make(clip, length=4, temperature=20.0).train(), episode_of()
    learned = [p for p in method.parameters() if p.requires_grad]
    assert sum(p.numel() for p in learned) < 2000
    frozen = {n: p.clone() for n, p in clip.named_parameters()}
    optimizer = torch.optim.Adam(learned, lr=0.02)
    losses = []
    for _ in range(25):
        losses.append(method.loss(method(episode), episode)["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(p, frozen[n]) for n, p in clip.named_parameters())


def test_the_loss_is_over_the_split_or_the_episode(clip: ClipEncoder) -> None:
    episode = episode_of()
    method = CoOp(clip, length=4).train()
    scores = method(episode)
    assert scores.class_logits is not None
    assert scores.class_logits.shape == (6, 5)
    split = method.loss(scores, episode)["loss"]
    method.over = "episode"
    own = method.loss(scores, episode)["loss"]
    classes = torch.cat([episode.support_classes, episode.query_classes])
    torch.testing.assert_close(split, torch.nn.functional.cross_entropy(scores.class_logits, classes))
    assert own < split  # fewer classes to tell apart


def test_the_context_travels_in_a_small_file(clip: ClipEncoder, tmp_path: Path) -> None:
    for make in (CoOp, CoCoOp):
        path, episode = tmp_path / f"{make.__name__}.safetensors", episode_of()
        method = make(clip, length=4).eval()
        method.save_context(path)
        assert path.stat().st_size < 10_000
        again = make(clip, length=4, context=str(path)).eval()
        with torch.no_grad():
            assert torch.equal(again(episode).logits, method(episode).logits)
        with pytest.raises(ValueError, match="as configured needs"):
            make(clip, length=5, context=str(path))
        with pytest.raises(FileNotFoundError, match="does not exist"):
            make(clip, context=str(tmp_path / "none"))


def test_class_specific_contexts_refuse_new_classes(clip: ClipEncoder) -> None:
    method = CoOp(clip, length=4, class_specific=["surfing", "yoga"])
    with pytest.raises(ValueError, match="Few-shot test classes are never seen in training"):
        method(episode_of())


def test_a_conditional_context_is_the_loop_over_queries(clip: ClipEncoder) -> None:
    method, episodes = CoCoOp(clip, length=4, prompts_per_batch=4).eval(), [episode_of(seed=i) for i in range(3)]
    with torch.no_grad():
        together = method(Episode.stack(episodes)).logits
        for e, episode in enumerate(episodes):
            names = [NAMES[c] for c in episode.classes]
            for q, clip_frames in enumerate(episode.query["frames"]):
                pooled = normalize(clip_frames.mean(0), dim=-1)
                plain = CoOp(clip, length=4).context
                plain.vectors.copy_(method.context.vectors + method.network(pooled))
                text = normalize(plain(clip.require_text(), names), dim=-1)
                torch.testing.assert_close(together[e, q], 100 * text @ pooled, rtol=1e-4, atol=1e-3)


def test_query_by_query(clip: ClipEncoder) -> None:
    """The conditional context of one query does not change another's logits."""
    method, episode, other = CoCoOp(clip).eval(), episode_of(), episode_of()
    other.query["frames"][1:] = 0.5
    with torch.no_grad():
        a, b = method(episode).logits, method(other).logits
    torch.testing.assert_close(a[0], b[0])
    assert not torch.allclose(a[1], b[1])


def test_an_encoder_without_text_is_refused(blind: Any) -> None:
    with pytest.raises(ValueError, match="no text tower"):
        CoOp(blind)
