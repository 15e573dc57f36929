"""HyRSM: released outputs, sizes, names, and what must hold for what it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from episodes.clips import Features
from fsar.alignment import OTAM, TRX
from fsar.encoders import ImageEncoder
from fsar.methods import HyRSM
from fsar.methods.vision_only.hyrsm import convert_released
from fsar.shots import shot_mean


@pytest.mark.parametrize(
    ("case", "merge"),
    [("case0", "before"), ("case0", "after"), ("case1", "before"), ("case2", "before"), ("case3", "after"),
     ("case4", "before"), ("case4", "after")],
)  # fmt: skip
def test_reproduces_the_released_code(case: str, merge: Any, reference: Any, checks: Any) -> None:
    """Features for each query, few-shot and class logits, losses, gradients; chunks of three queries."""
    arrays = reference("hyrsm", case)
    weights = convert_released({k.removeprefix("weight/"): x for k, x in arrays.items() if k.startswith("weight/")})
    scale, weight = arrays["position"].tolist()
    classes = len(weights["classifier.bias"])
    encoder = checks.NoEncoder(arrays["query"].shape[-1])
    method = checks.without_dropout(
        HyRSM(encoder, None, merge, float(arrays["class_weight"]), classes, scale, weight, queries_per_chunk=3)
    )
    method.load_state_dict(weights)
    method.train()  # for the class logits; there is no dropout left, and no norm that looks at a batch
    episode = checks.stored_episode(arrays, classes)
    scores = checks.scores(method, episode)
    losses = method.loss(scores, episode)
    losses["loss"].backward()
    found = {name: losses[name] for name in ("loss", "few_shot_loss", "class_loss")}
    found |= {"logits": scores.logits, "class_logits": scores.class_logits}
    found |= {"grad_support": episode.support["frames"].grad, "grad_query": episode.query["frames"].grad}
    if "support_features" in arrays and (merge == "after" or len(episode.support_labels) > episode.ways):
        query, support = method.query_parts(episode.query), method.query_parts(episode.support)
        if merge == "before":
            support = {k: shot_mean(x, episode.support_labels, episode.ways) for k, x in support.items()}
        found["query_features"], found["support_features"] = method.relation(query, support)
    checks.agree(found, {name: arrays[name] for name in found})


@pytest.mark.parametrize("merge", ["before", "after"])
def test_holds_what_every_method_must(merge: Any, checks: Any) -> None:
    method = HyRSM(checks.NoEncoder(16), merge=merge).eval()
    for chunk in (None, 1, 3):
        method.queries_per_chunk = chunk
        checks.episodes(method, lambda clips: torch.randn(clips, 4, 16).abs())


def test_merges_differ_with_several_shots_only(checks: Any) -> None:
    before, after = (HyRSM(checks.NoEncoder(16), merge=merge).eval() for merge in ("before", "after"))
    after.load_state_dict(before.state_dict())
    for shots, same in ((1, True), (2, False)):
        labels = torch.arange(3).repeat_interleave(shots)
        episode = checks.label_episode(labels, torch.arange(3))
        support, query = torch.randn(3 * shots, 4, 16), torch.randn(3, 4, 16)
        scores = [
            m.score(
                m.support_parts(Features(frames=support), torch.empty(0)),
                m.query_parts(Features(frames=query)),
                episode,
                torch.empty(0),
            ).logits
            for m in (before, after)
        ]
        assert torch.allclose(*scores, atol=1e-5) == same


def test_has_the_weights_of_the_released_model_and_no_other(released_names: Any) -> None:
    with torch.device("meta"):
        method = HyRSM(ImageEncoder("resnet50", None))
    ours = {k: x.shape for k, x in method.state_dict().items()}
    released = released_names("HyRSM")
    assert {k: x.shape for k, x in convert_released(released).items()} == ours
    assert convert_released({f"head.{k}": x for k, x in released.items()}).keys() == ours.keys()
    with pytest.raises(ValueError, match=r"'scale' is not a weight of a released checkpoint of HyRSM: temporal_atte"):
        convert_released({"scale": torch.ones(1)})


def test_the_sizes_are_the_papers(checks: Any) -> None:
    with torch.device("meta"):
        method = HyRSM(checks.NoEncoder(2048))
    parts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (*method.relation.named_children(), ("classifier", method.classifier))
    }
    expected = {"positions": 0, "within": 16_783_360, "across": 16_783_360, "join": 8_390_656, "classifier": 131_136}
    assert parts == expected
    assert sum(p.numel() for p in method.parameters()) == 42_088_512


def test_another_alignment_and_no_classifier(checks: Any) -> None:
    method = HyRSM(checks.NoEncoder(16), OTAM(), class_weight=0.0).train()
    episode = checks.label_episode(torch.arange(3), torch.arange(3))
    parts = (
        method.support_parts(Features(frames=torch.randn(3, 5, 16)), torch.empty(0)),
        method.query_parts(Features(frames=torch.randn(3, 5, 16))),
    )
    scores = method.score(*parts, episode, torch.empty(0))
    assert scores.class_logits is None
    assert method.loss(scores, episode).keys() == {"loss"}
    assert method.describe() == "HyRSM with OTAM"


def test_what_does_not_fit_is_refused(checks: Any) -> None:
    with pytest.raises(ValueError, match="HyRSM makes supports anew for every query, which TRX cannot take"):
        HyRSM(checks.NoEncoder(16), TRX(16))
    with pytest.raises(ValueError, match="heads=3 must divide the 16 channels"):
        HyRSM(checks.NoEncoder(16), heads=3)
    with pytest.raises(ValueError, match="scale A of the positions must be positive, found 0"):
        HyRSM(checks.NoEncoder(16), position_scale=0)
    method = HyRSM(checks.NoEncoder(16), train_classes=2).train()
    episode = checks.label_episode(torch.arange(3), torch.arange(3))
    parts = (
        method.support_parts(Features(frames=torch.randn(3, 5, 16)), torch.empty(0)),
        method.query_parts(Features(frames=torch.randn(3, 5, 16))),
    )
    with pytest.raises(ValueError, match="made for train_classes=2, but the training split has 3 classes"):
        method.score(*parts, episode, torch.empty(0))
