"""TEAM against the outputs of its authors' code, and as a method."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from episodes.clips import Features
from fsar.alignment.per_query.cross_tuple import sinusoids
from fsar.encoders import ImageEncoder
from fsar.methods.vision_only.team import TEAM, convert_released


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_reproduces_the_released_code(case: str, reference: Any, checks: Any) -> None:
    """Maps to both distances, the logits, the losses and every gradient that was stored."""
    arrays = reference("team", case)
    stored = {k.removeprefix("weight/"): v for k, v in arrays.items() if k.startswith("weight/")}
    positions = stored["DPM.pe.pe"][0]
    torch.testing.assert_close(0.1 * sinusoids(*positions.shape), positions, rtol=1e-5, atol=1e-6)
    weights = convert_released(stored)
    method = TEAM(checks.NoEncoder(positions.shape[-1]), len(weights["tokens.patterns"]), dropout=0.0)
    method.load_state_dict(weights)
    support, query = (arrays[f"{role}_maps"].clone().requires_grad_() for role in ("support", "query"))
    episode = checks.label_episode(arrays["support_labels"], arrays["query_labels"])
    pooled = (x.mean((-2, -1)) for x in (support, query))
    support_parts, query_parts = (
        method.support_parts(Features(frames=next(pooled)), torch.empty(0)),
        method.query_parts(Features(frames=next(pooled))),
    )
    scores = method.score(support_parts, query_parts, episode, torch.empty(0))
    losses = method.loss(scores, episode)
    losses["loss"].backward()
    found = {
        "logits": scores.logits,
        "logits_positive": scores.positive,
        "logits_negative": scores.negative,
        "loss": losses["loss"],
        "loss_positive": losses["positive_loss"],
        "loss_negative": losses["negative_loss"],
        "grad_support": support.grad,
        "grad_query": query.grad,
        "grad_weight/DPM.AP": method.tokens.patterns.grad[None],
        "grad_weight/DPM.mlp.inp_fc.weight": method.tokens.mlp[0].weight.grad,
    }
    expected = {k: x for k, x in arrays.items() if k.startswith(("logits", "loss", "grad"))}
    assert "logits_negative" in expected
    checks.agree(found, expected)


def test_holds_what_every_method_must(checks: Any) -> None:
    method = TEAM(checks.NoEncoder(16), patterns=5).eval()
    checks.episodes(method, lambda clips: torch.randn(clips, 6, 16))


def test_one_class_is_scored_by_what_it_is(checks: Any) -> None:
    method = TEAM(checks.NoEncoder(8), patterns=3).eval()
    episode = checks.label_episode(torch.tensor([0]), torch.tensor([0, 0]))
    parts = (
        method.support_parts(Features(frames=torch.randn(1, 4, 8)), torch.empty(0)),
        method.query_parts(Features(frames=torch.randn(2, 4, 8))),
    )
    scores = method.score(*parts, episode, torch.empty(0))
    assert not scores.negative.any()
    assert (scores.logits == scores.positive).all()
    assert torch.isfinite(method.loss(scores, episode)["loss"])


def test_has_the_weights_of_the_released_model_and_no_other(released_names: Any) -> None:
    released = released_names("TEAM")
    with torch.device("meta"):
        method = TEAM(ImageEncoder("resnet50", None), patterns=60)
    ours = {k: x.shape for k, x in method.state_dict().items()}
    assert {k: x.shape for k, x in convert_released(released).items()} == ours
    head = sum(p.numel() for p in method.tokens.parameters())
    assert head == 60 * 2048 + 2 * 2048 + 2 * (2048 * 2048 + 2048)
    assert {f"encoder.{k}" for k in method.encoder.state_dict()} == {k for k in ours if k.startswith("encoder.")}


def test_an_unknown_released_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'fc.weight' is not a weight of a released checkpoint of TEAM: DPM"):
        convert_released({"fc.weight": torch.ones(1)})


def test_learns_an_episode(checks: Any) -> None:
    method = TEAM(checks.NoEncoder(8), patterns=4).train()
    support = torch.randn(3, 4, 8)
    query = support.repeat(2, 1, 1) + 0.3 * torch.randn(6, 4, 8)
    episode = checks.label_episode(torch.arange(3), torch.arange(3).repeat(2))
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)

    def loss() -> Tensor:
        parts = (
            method.support_parts(Features(frames=support), torch.empty(0)),
            method.query_parts(Features(frames=query)),
        )
        return method.loss(method.score(*parts, episode, torch.empty(0)), episode)["loss"]

    before = loss().item()
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.8 * before
