"""HyRSM++: released outputs, the coherence loss written out, and unlabelled clips."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Features
from fsar.encoders import FrameEncoder, ImageEncoder
from fsar.methods import HyRSM, HyRSMPlusPlus
from fsar.methods.vision_only.hyrsm_plus_plus import (
    coherence_targets,
    convert_released,
    pseudo_labels,
    temporal_coherence,
)

CASES = [("case0", "after"), ("case1", "before"), ("case2", "before"), ("case3", "after")]


@pytest.mark.parametrize(("case", "merge"), CASES)
def test_reproduces_the_released_code(case: str, merge: Any, reference: Any, checks: Any) -> None:
    arrays = reference("hyrsmpp", case)
    weights = convert_released({k.removeprefix("weight/"): x for k, x in arrays.items() if k.startswith("weight/")})
    scale, weight = arrays["position"].tolist()
    options = {name: float(arrays[name]) for name in ("balance", "coefficient", "class_weight")}
    method = HyRSMPlusPlus(
        checks.NoEncoder(arrays["query"].shape[-1]),
        merge=merge,
        train_classes=len(weights["classifier.bias"]),
        window=int(arrays["window"]),
        coherence_weight=float(arrays["temporal_weight"]),
        position_scale=scale,
        position_weight=weight,
        queries_per_chunk=2,
        **options,
    )
    checks.without_dropout(method).load_state_dict(weights)
    method.train()
    episode = checks.stored_episode(arrays)
    scores = checks.scores(method, episode)
    losses = method.loss(scores, episode)
    losses["loss"].backward()
    target, band = coherence_targets(arrays["query"].shape[1], int(arrays["window"]), options["balance"])
    found = {name: losses[name] for name in ("loss", "few_shot_loss", "class_loss")}
    found |= {"logits": scores.logits, "class_logits": scores.class_logits, "target": target, "band": band}
    found |= {"temporal_loss": losses["coherence_loss"]}
    found |= {"grad_support": episode.support["frames"].grad, "grad_query": episode.query["frames"].grad}
    checks.agree(found, {name: arrays[name] for name in found if name in arrays})


def test_coherence_written_out() -> None:
    frames = torch.randn(2, 5, 7, dtype=torch.float64)
    found = temporal_coherence(frames, window=1, balance=2.0, coefficient=3.0)
    for clip, value in zip(frames, found, strict=True):
        total = 0.0
        for i in range(5):
            for j in range(5):
                distance = 1 - float(torch.cosine_similarity(clip[i], clip[j], dim=0))
                gap = abs(i - j)
                if gap <= 1:
                    total += distance / (gap**2 + 1)
                else:
                    total += 3 * max(0.0, 1 - math.exp(-((gap - 1) ** 2) / 2) - distance)
        assert float(value) == pytest.approx(total / 25, rel=1e-5)


def test_coherence_is_0_for_equal_neighbours_and_strangers_far_enough_apart() -> None:
    first, second = torch.eye(4)[:2]
    clip = torch.stack([first, first, second, second])
    assert float(temporal_coherence(clip[:2], 1, 51.0)) == 0
    assert float(temporal_coherence(clip, 0, 1.0)) > 0  # equal frames one step apart should differ
    assert float(temporal_coherence(torch.eye(6), 0, 1e-3)) == 0


def labelled(method: Any, checks: Any, shots: int = 1) -> tuple[Any, Tensor, Tensor]:
    episode = checks.label_episode(torch.arange(3).repeat_interleave(shots), torch.arange(3))
    return episode, torch.randn(3 * shots, 4, 16).abs(), torch.randn(3, 4, 16).abs()


def test_unlabelled_clips_that_are_likely_join_their_class(checks: Any) -> None:
    """Copies of a class's shot change nothing; others count as shots of the class that they are likely to be."""
    method = HyRSMPlusPlus(checks.NoEncoder(16), threshold=0.0).eval()
    episode, support, query = labelled(method, checks)
    parts = {name: method.query_parts(Features(frames=x)) for name, x in (("support", support), ("query", query))}
    none = torch.empty(0)
    plain = method.score(*parts.values(), episode, none).logits
    stranger = torch.randn(1, 4, 16).abs()
    others = method.query_parts(Features(frames=stranger))
    joined = method.score(*parts.values(), episode, none, others).logits
    label = int(method.score(parts["support"], others, checks.label_episode(torch.arange(3), torch.tensor([0])), none)
                .logits.argmax())  # fmt: skip
    by_hand = method.query_parts(Features(frames=torch.cat([support, stranger])))
    five = checks.label_episode(torch.tensor([0, 1, 2, label]), torch.arange(3))
    torch.testing.assert_close(joined, method.score(by_hand, parts["query"], five, none).logits)
    assert not torch.allclose(joined, plain)
    method.threshold = 1.1
    torch.testing.assert_close(method.score(*parts.values(), episode, none, others).logits, plain)


def test_unlabelled_clips_written_out_episode_by_episode(checks: Any) -> None:
    """A loop over episodes, clips and classes: the likely are counted into the mean of their class."""
    method = HyRSMPlusPlus(checks.NoEncoder(16), threshold=0.4, temperature=0.5).eval()
    labels, queries = torch.tensor([[0, 1, 2, 2, 1, 0], [2, 0, 1, 1, 0, 2]]), torch.tensor([[0, 1], [2, 0]])
    support, query, others = (torch.randn(2, count, 4, 16).abs() for count in (6, 2, 7))
    parts = [method.query_parts(Features(frames=x)) for x in (support, query, others)]
    none, joined, found = torch.empty(0), 0, []
    for e in range(2):
        shots, asked, strangers = ({name: x[e] for name, x in part.items()} for part in parts)
        members = {c: [{n: x[i] for n, x in shots.items()} for i in range(6) if labels[e, i] == c] for c in range(3)}
        for u in range(7):
            one = {name: x[u : u + 1] for name, x in strangers.items()}
            episode = checks.label_episode(labels[e], torch.tensor([0]))
            share = (method.score(shots, one, episode, none).logits[0] / 0.5).softmax(-1)
            if share.max() >= 0.4:
                members[int(share.argmax())].append({name: x[0] for name, x in one.items()})
                joined += 1
        means = {n: torch.stack([torch.stack([m[n] for m in members[c]]).mean(0) for c in range(3)]) for n in shots}
        single = checks.label_episode(torch.arange(3), queries[e])
        found.append(method.score(means, asked, single, none).logits)
    assert 0 < joined < 14  # some are likely enough, not all
    both = checks.label_episode(labels, queries)
    torch.testing.assert_close(method.score(parts[0], parts[1], both, none, parts[2]).logits, torch.stack(found))


def test_the_released_threshold_forgets_a_lone_first_clip(checks: Any) -> None:
    method = HyRSMPlusPlus(checks.NoEncoder(16), threshold=0.0, published_threshold=True).eval()
    episode, support, query = labelled(method, checks)
    parts = method.query_parts(Features(frames=support)), method.query_parts(Features(frames=query))
    plain = method.score(*parts, episode, torch.empty(0)).logits
    one, two = (method.query_parts(Features(frames=torch.randn(count, 4, 16).abs())) for count in (1, 2))
    torch.testing.assert_close(method.score(*parts, episode, torch.empty(0), one).logits, plain)
    assert not torch.allclose(method.score(*parts, episode, torch.empty(0), two).logits, plain)


def test_labels_are_taken_where_likely() -> None:
    labels, accepted = pseudo_labels(torch.tensor([[0.0, 4.0], [0.1, 0.0]]), threshold=0.9, temperature=1.0)
    assert labels.tolist() == [1, 0]
    assert accepted.tolist() == [True, False]


def test_an_episode_with_unlabelled_clips_trains(checks: Any) -> None:
    encoder = FrameEncoder(nn.Identity(), 16, 32, (0.5,) * 3, (0.5,) * 3)
    method = HyRSMPlusPlus(encoder, threshold=0.0, train_classes=3).train()
    episode, support, query = labelled(method, checks, shots=2)
    episode = checks.feature_episode(support, query, episode)
    unlabelled = torch.randn(4, 4, 16).abs().requires_grad_()
    losses = method.loss(method(episode, unlabelled=unlabelled), episode)
    losses["loss"].backward()
    assert unlabelled.grad is not None
    assert unlabelled.grad.abs().sum() > 0
    assert losses.keys() == {"loss", "few_shot_loss", "class_loss", "coherence_loss"}
    assert torch.equal(method.eval()(episode).logits, method.eval()(episode, unlabelled=None).logits)


def test_scores_are_those_of_hyrsm(checks: Any) -> None:
    method, plain = (kind(checks.NoEncoder(16)).eval() for kind in (HyRSMPlusPlus, HyRSM))
    plain.load_state_dict(method.state_dict())
    episode, support, query = labelled(method, checks, shots=2)
    logits = [
        m.score(
            m.query_parts(Features(frames=support)), m.query_parts(Features(frames=query)), episode, torch.empty(0)
        ).logits
        for m in (method, plain)
    ]
    assert torch.equal(*logits)
    checks.episodes(method, lambda clips: torch.randn(clips, 4, 16).abs())


def test_has_the_weights_of_the_released_model_and_no_other(released_names: Any) -> None:
    with torch.device("meta"):
        method = HyRSMPlusPlus(ImageEncoder("resnet50", None))
    ours = {k: x.shape for k, x in method.state_dict().items()}
    assert {k: x.shape for k, x in convert_released(released_names("HyRSM++")).items()} == ours
    assert sum(p.numel() for n, p in method.named_parameters() if not n.startswith("encoder.")) == 42_088_512
    with pytest.raises(ValueError, match=r"'scale' is not a weight of a released checkpoint of HyRSM\+\+"):
        convert_released({"scale": torch.ones(1)})


@pytest.mark.parametrize("options", [{"window": -1}, {"balance": 0.0}, {"temperature": -1.0}])
def test_what_does_not_fit_is_refused(options: Any, checks: Any) -> None:
    with pytest.raises(ValueError, match="window must be 0 or more, balance and temperature positive; found"):
        HyRSMPlusPlus(checks.NoEncoder(16), **options)
    method = HyRSMPlusPlus(checks.NoEncoder(16), merge="after").eval()
    episode, support, query = labelled(method, checks)
    parts = method.query_parts(Features(frames=support)), method.query_parts(Features(frames=query))
    with pytest.raises(ValueError, match="unlabelled clips join the mean of a class, so they need merge='before'"):
        method.score(*parts, episode, torch.empty(0), parts[1])
