"""CLIP4Clip against the outputs of the authors' code; its start from CLIP; retrieval metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from episodes.episode import Episode
from fsar.encoders import ClipEncoder
from fsar.methods import Clip4Clip
from fsar.methods.clip_family.clip4clip import first_ranks, retrieval
from fsar.temporal.sequence import SequenceTransformer, pool_frames

Make = Callable[..., Episode]


@pytest.fixture
def case(reference: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
    return reference("clip4clip", "case0")


def test_mean_pooling_reproduces_the_released_code(case: dict[str, Tensor]) -> None:
    frames, mask, text = case["frames"], case["frame_mask"], normalize(case["text"], dim=-1)
    logits = float(case["logit_scale"]) * text @ pool_frames(frames, mask).T
    torch.testing.assert_close(logits, case["mean_pool_logits"], rtol=1e-5, atol=5e-5)


def test_the_transformer_reproduces_the_released_code(case: dict[str, Tensor]) -> None:
    if "sequential_transformer_logits" not in case:
        pytest.skip("the weights of the Transformer are too large for tests/data/")
    frames, mask, text = case["frames"], case["frame_mask"], normalize(case["text"], dim=-1)
    scale = float(case["logit_scale"])
    model = SequenceTransformer(64, depth=2, positions=16)
    weights = {k.removeprefix("weight/"): v for k, v in case.items() if k.startswith("weight/")}
    model.load_state_dict({**weights, "positions": case["positions"]}, strict=True)
    logits = scale * text @ pool_frames(model(frames, mask), mask).T
    torch.testing.assert_close(logits, case["sequential_transformer_logits"], rtol=1e-5, atol=5e-5)


def test_starts_from_the_text_blocks(clip: ClipEncoder) -> None:
    method = Clip4Clip(clip, depth=3)
    tower: Any = clip.require_text().tower
    head: Any = method.head
    assert len(head.resblocks) == 3
    for ours, theirs in zip(head.resblocks, tower.transformer.resblocks, strict=False):
        assert torch.equal(ours.attn.in_proj_weight, theirs.attn.in_proj_weight)
        assert torch.equal(ours.mlp[2].bias, theirs.mlp.c_proj.bias)
    assert torch.equal(head.positions[:24], tower.positional_embedding)
    x = torch.randn(1, 5, 64)
    torch.testing.assert_close(head.resblocks[0](x), tower.transformer.resblocks[0](x), rtol=1e-4, atol=1e-4)
    assert head.positions.requires_grad
    assert not tower.positional_embedding.requires_grad
    with pytest.raises(ValueError, match="the 9 blocks of width 64 cannot start"):
        Clip4Clip(clip, depth=9)


def test_the_mean_head_against_text_is_zero_shot_with_normalised_frames(encoder: Any, make_episode: Make) -> None:
    episode = make_episode()
    text = normalize(encoder.text.features[episode.classes], dim=-1)
    expected = 20 * normalize(normalize(episode.query["frames"], dim=-1).mean(1), dim=-1) @ text.T
    method = Clip4Clip(encoder, "mean", temperature=20.0).eval()
    torch.testing.assert_close(method(episode).logits, expected)


def test_the_scale_is_held_at_100(encoder: Any) -> None:
    assert Clip4Clip(encoder, "mean", temperature=500.0).temperature.item() == pytest.approx(100.0)


@pytest.mark.parametrize(("head", "against"), [("lstm", "text"), ("transformer", "support"), ("tight", "text")])
def test_every_trained_weight_gets_a_gradient(encoder: Any, make_episode: Make, head: Any, against: Any) -> None:
    method = Clip4Clip(encoder, head, against, depth=1, init_from_text=False, temperature=10.0).train()
    episodes = Episode.stack([make_episode(seed=i) for i in range(2)])
    method.loss(method(episodes), episodes)["loss"].backward()
    silent = [n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert silent in ([], ["head.head.3.bias"])  # a softmax does not see what is added to all logits


def test_overfits_one_episode(encoder: Any, make_episode: Make) -> None:
    method = Clip4Clip(encoder, "transformer", init_from_text=False, depth=1).train()
    episode, optimizer = make_episode(), torch.optim.Adam(method.parameters(), lr=3e-3)
    for _ in range(60):
        loss = method.loss(method(episode), episode)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert bool((method.eval()(episode).logits.argmax(-1) == episode.query_labels).all())


def test_tight_needs_text(encoder: Any) -> None:
    with pytest.raises(ValueError, match="joins a clip with a text"):
        Clip4Clip(encoder, "tight", against="support")


def test_retrieval_metrics() -> None:
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.2, 0.8], [0.5, 0.4, 0.1], [0.1, 0.2, 0.3]])
    relevant = torch.eye(3).bool()[[0, 1, 2, 2]]
    assert first_ranks(similarity, relevant).tolist() == [1, 3, 3, 1]
    found = retrieval(similarity, relevant)
    assert (found.recall_at_1, found.recall_at_5, found.recall_at_10, found.median_rank) == (0.5, 1.0, 1.0, 2.0)
    several = torch.tensor([[False, True, True]])
    assert first_ranks(similarity[:1], several).tolist() == [2]  # the better of the two
    assert first_ranks(torch.ones(1, 4), torch.eye(4).bool()[:1]).tolist() == [4]  # all the same: nothing is known
    with pytest.raises(ValueError, match="at least one relevant"):
        retrieval(similarity, torch.zeros(4, 3).bool())
    with pytest.raises(ValueError, match=r"must both be \(a b\)"):
        retrieval(similarity, relevant[:2])


def test_retrieval_of_many_against_a_sort() -> None:
    similarity, relevant = torch.randn(50, 40), torch.rand(50, 40) > 0.9
    relevant[:, 0] = True
    expected = [
        1 + next(place for place, j in enumerate(row.argsort(descending=True).tolist()) if own[j])
        for row, own in zip(similarity, relevant, strict=True)
    ]
    assert first_ranks(similarity, relevant).tolist() == expected
    assert retrieval(similarity, relevant).median_rank == np.median(expected)
