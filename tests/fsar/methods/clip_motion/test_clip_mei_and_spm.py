"""CLIP-MEI and CLIP-SPM: released outputs, sizes, what is transductive in them and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from episodes.episode import Episode
from fsar.alignment import TRX
from fsar.methods import ClipMEI, ClipSPM
from fsar.methods.clip_motion import clip_mei, clip_spm

METHODS = {"clip_mei": (ClipMEI, clip_mei.convert_released), "clip_spm": (ClipSPM, clip_spm.convert_released)}
PUBLISHED = {"published_anchors": True, "published_text": True}
NAMES = ("logits", "auxiliary", "motion_distance", "consistency", "text_distance", "few_shot_loss", "loss")
GRADIENTS = {
    "grad_support": lambda m, e: e.support["frames"].grad,
    "grad_query": lambda m, e: e.query["frames"].grad,
    "grad_weight/mo_alpha1": lambda m, e: m.motion_weight.grad,
    "grad_weight/motion_conv1.weight": lambda m, e: m.motion.first.weight.grad,
    "grad_weight/token_tr.mlp.net.0.weight": lambda m, e: m.token[0].weight.grad,
    "grad_weight/context1.layers.0.0.fn.to_q.weight": lambda m, e: m.task.blocks[0].to_q.weight.grad,
    "grad_weight/context2.layers.0.1.net.0.weight": lambda m, e: (
        m.modulation.block.blocks[0].feed_forward[1].weight.grad
    ),
    "grad_weight/gate_text.0.weight": lambda m, e: m.modulation.gates.text[0].weight.grad,
}


def small(name: str, encoder: Any, **options: Any) -> Any:
    return METHODS[name][0](encoder, hidden=64, head_width=8, **options)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_reproduces_the_released_code(name: str, case: str, reference: Any, checks: Any) -> None:
    arrays = reference(name, case)
    gates = {"share": float(arrays["alpha"])} if name == "clip_spm" else {}
    method = small(name, checks.NoEncoder(32), **PUBLISHED, **gates)
    method.load_state_dict(METHODS[name][1](checks.weights(reference(name))))
    checks.without_dropout(method).train()
    episode = checks.stored_episode(arrays)
    scores = checks.scores(method, episode, arrays["text"])
    losses = method.loss(scores, episode)
    losses["loss"].backward()
    found = {**losses, "logits": scores.logits}
    found |= {key: gradient(method, episode) for key, gradient in GRADIENTS.items() if key in arrays}
    support = method.support_parts(episode.support, arrays["text"][episode.support_classes])
    compared = method.compared(support, method.query_parts(episode.query), episode, arrays["text"])
    found |= {"semantic_query": compared[0], "semantic_support": support["frames"]}
    found["semantic_cost"] = -method.alignment(*compared)
    named = (*NAMES, "semantic_query", "semantic_support", "semantic_cost")
    checks.agree(found, {key: x for key, x in arrays.items() if key in named or key in GRADIENTS})
    checks.agree({"logits": checks.scores(method.eval(), episode, arrays["text"]).logits}, {"logits": arrays["logits"]})


@pytest.mark.parametrize(("name", "size"), [("clip_mei", 16_264_705), ("clip_spm", 17_315_329)])
def test_the_sizes_are_the_papers(name: str, size: int, checks: Any) -> None:
    """Without the scale that the release makes and never uses."""
    with torch.device("meta"):
        method = METHODS[name][0](checks.NoEncoder(512))
    blocks = sum(p.numel() for part in (method.modulation.block, method.task) for p in part.parameters())
    assert blocks == 12_591_104
    assert sum(p.numel() for p in method.token.parameters()) == 2_099_712
    assert sum(p.numel() for p in method.parameters()) == size


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("anchors", [False, True])
@pytest.mark.parametrize("text", [False, True])
def test_the_marks_say_what_is_so(name: str, anchors: bool, text: bool, checks: Any) -> None:
    method = small(name, checks.NoEncoder(16), published_anchors=anchors, published_text=text).eval()
    episode, words = checks.random_episode(16), torch.randn(5, 16)
    logits = checks.scores(method, episode, words).logits
    clips = episode.query["frames"]
    changed = replace(episode, query=torch.cat([torch.randn_like(clips[:1]), clips[1:]]))
    moved = not torch.allclose(checks.scores(method, changed, words).logits[1:], logits[1:], atol=1e-5)
    assert moved == anchors
    relabelled = replace(episode, query_labels=torch.zeros_like(episode.query_labels))
    leaked = not torch.allclose(checks.scores(method, relabelled, words).logits, logits, atol=1e-6)
    assert leaked == text
    assert method.sees_other_queries == (anchors or text)
    assert method.reads_query_labels == text


@pytest.mark.parametrize("name", METHODS)
def test_as_many_queries_of_each_class_hide_whose_text_it_is(name: str, checks: Any) -> None:
    episode, words = checks.random_episode(16, queries=6), torch.randn(5, 16)
    ours, theirs = (small(name, checks.NoEncoder(16), published_text=text).eval() for text in (False, True))
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(*(checks.scores(m, episode, words).logits for m in (ours, theirs)))


@pytest.mark.parametrize("options", [{}, PUBLISHED])
def test_leading_axes_and_classes_of_several_sizes(options: dict[str, bool], checks: Any) -> None:
    method = small("clip_mei", checks.NoEncoder(16), **options).eval()
    first, second, words = checks.random_episode(16), checks.random_episode(16), torch.randn(5, 16)
    both = Episode.stack([first, second])
    alone = torch.stack([checks.scores(method, e, words).logits for e in (first, second)])
    torch.testing.assert_close(checks.scores(method, both, words).logits, alone)
    uneven = replace(first, support=first.support.at(slice(1, None)), support_labels=first.support_labels[1:])
    assert checks.scores(method, uneven, words).logits.isfinite().all()


def test_what_does_not_fit_is_refused(checks: Any) -> None:
    with pytest.raises(ValueError, match="ClipMEI compares the means of shots, but TRX compares all shots"):
        ClipMEI(checks.NoEncoder(16), TRX(16))
    with pytest.raises(ValueError, match=r"'fc.weight' is not a weight of a released checkpoint of CLIP-SPM"):
        clip_spm.convert_released({"fc.weight": torch.ones(1)})
