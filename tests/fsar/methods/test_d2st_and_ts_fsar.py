"""D2ST-Adapter and TS-FSAR as methods: size, losses, and their formulas written out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from episodes.clips import combined
from episodes.episode import Episode
from fsar.adapters import D2STAdapter, Ladder
from fsar.adapters.ladder import pruned, resampled
from fsar.alignment import BiMHM, CosineCost, alpha_covariance
from fsar.encoders import ClipEncoder
from fsar.encoders.adapted import Adapted
from fsar.evaluation.bank import feature_key
from fsar.methods import D2ST, TSFSAR

Tiny = Callable[..., ClipEncoder]
Pixels = Callable[..., Episode]


def ts_fsar(tiny: Tiny, **options: object) -> TSFSAR:
    return TSFSAR(tiny(), Ladder(width=16, heads=2, temporal=(1,)), train_classes=6, **options)  # type: ignore[arg-type]


def test_ts_fsar_has_the_papers_size() -> None:
    method = TSFSAR(ClipEncoder("ViT-B-16", None))
    trained = {n: p.numel() for n, p in method.named_parameters() if p.requires_grad}
    head = sum(count for n, count in trained.items() if n.startswith("classifier"))
    assert head == 2_105_344
    assert sum(trained.values()) - head == 13_252_620


def test_ts_fsar_metric_written_out(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = ts_fsar(tiny).eval(), pixels(shots=2)
    with torch.no_grad():
        states = tuple(method.encoder.below(combined(torch.cat, [episode.support, episode.query])).values())
        tokens = method.encoder.side.tokens(states)
        z, patches = tokens[:, :, 0], tokens[:, :, 1:]
        v = alpha_covariance(z, patches)
        expected = torch.zeros(6, 3)
        for i in range(6):
            g = z[:6].mean((0, 1)) + z[6 + i].mean(0)
            weights = (method.alignment.weights.weight @ g).unflatten(0, (8, 8))
            for c in range(3):
                prototype = v[:6][episode.support_labels == c].mean(0)
                norms = v[6 + i].norm(dim=-1)[:, None] * prototype.norm(dim=-1)
                expected[i, c] = (weights * (v[6 + i] @ prototype.T) / (norms + 0.01)).sum()
        torch.testing.assert_close(method(episode).few_shot, expected, rtol=1e-3, atol=1e-4)


def test_ts_fsar_fuses_three_branches(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = ts_fsar(tiny).eval(), pixels()
    with torch.no_grad():
        single = []
        for i in range(3):
            method.fusion = tuple(float(i == j) for j in range(3))  # type: ignore[assignment]
            single.append(method(episode).probabilities)
        torch.testing.assert_close(single[0], method(episode).few_shot.softmax(-1))
        method.fusion = (0.5, 0.3, 0.2)
        product = single[0] ** 0.5 * single[1] ** 0.3 * single[2] ** 0.2
        torch.testing.assert_close(method(episode).probabilities, product / product.sum(-1, keepdim=True))
    assert not torch.allclose(single[1], single[2])


def test_ts_fsar_losses_add_up_and_the_guidance_is_a_divergence(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = ts_fsar(tiny, class_weight=2.0, side_weight=3.0, guidance_weight=0.5).train(), pixels()
    scores = method(episode)
    losses = method.loss(scores, episode)
    total = losses["few_shot_loss"] + 2 * losses["class_loss"] + 3 * losses["side_loss"] + 0.5 * losses["guidance"]
    torch.testing.assert_close(losses["loss"], total)
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    expected = 16 * F.kl_div((student / 4).log_softmax(-1), (teacher / 4).softmax(-1), reduction="batchmean")
    torch.testing.assert_close(method.guidance(student, teacher), expected)
    assert float(method.guidance(teacher, teacher)) == pytest.approx(0, abs=1e-6)


def test_ts_fsar_teacher_can_be_held_still(tiny: Tiny) -> None:
    for detach in (False, True):
        method, teacher = ts_fsar(tiny, detach_teacher=detach), torch.randn(4, 6, requires_grad=True)
        method.guidance(torch.randn(4, 6, requires_grad=True), teacher).backward()
        assert (teacher.grad is None) == detach


def test_ts_fsar_scale_of_the_texts_and_dropout_of_the_classifier(tiny: Tiny, pixels: Pixels) -> None:
    episode, found = pixels(), []
    for options in ({}, {"text_scale": 50.0}, {"class_dropout": 0.7}):
        method = ts_fsar(tiny, **options).train()
        torch.manual_seed(3)
        found.append(method(episode))
    plain, halved, dropped = found
    for branch in ("side_text", "clip_text"):
        torch.testing.assert_close(getattr(halved, branch), getattr(plain, branch) / 2)
        torch.testing.assert_close(getattr(dropped, branch), getattr(plain, branch))
    torch.testing.assert_close(halved.class_logits, plain.class_logits)
    torch.testing.assert_close(dropped.few_shot, plain.few_shot)
    assert not torch.allclose(dropped.class_logits, plain.class_logits, rtol=0.1)
    with torch.no_grad():
        plain, dropped = (ts_fsar(tiny, class_dropout=p).eval()(episode).logits for p in (0.0, 0.7))
    torch.testing.assert_close(dropped, plain)  # in training only


def test_ts_fsar_starts_its_attention_from_the_last_block_with_pca(tiny: Tiny) -> None:
    method = TSFSAR(tiny(), Ladder(width=16, heads=2, temporal=(1,), init="pca"))
    block, attention = method.encoder.blocks[-1], method.clip_attention
    torch.testing.assert_close(attention.in_proj_weight[:48], pruned(block.attn.in_proj_weight[:64], 48, 48))
    torch.testing.assert_close(attention.out_proj.weight, pruned(block.attn.out_proj.weight, 48, 48))
    torch.testing.assert_close(attention.in_proj_bias[48:96], resampled(block.attn.in_proj_bias[64:128], 48))
    assert not torch.allclose(ts_fsar(tiny).clip_attention.in_proj_weight, attention.in_proj_weight, atol=1e-2)


def test_what_is_stored_for_ts_fsar_is_the_tower_alone(tiny: Tiny) -> None:
    assert feature_key(ts_fsar(tiny)) == feature_key(ts_fsar(tiny, alpha=0.6).requires_grad_(False))


def with_classifier(tiny: Tiny, train_classes: int) -> list[TSFSAR | D2ST]:
    torch.manual_seed(0)
    return [
        TSFSAR(tiny(), Ladder(width=16, heads=2, temporal=()), train_classes=train_classes),
        D2ST(Adapted(tiny(), D2STAdapter(), project=False), BiMHM(), train_classes=train_classes),
    ]


def test_the_classifiers_must_not_be_smaller_than_the_split(tiny: Tiny, pixels: Pixels) -> None:
    for method in with_classifier(tiny, 5):
        with pytest.raises(ValueError, match="train_classes=5, but the training split has 6"):
            method.train()(pixels())
        method.eval()(pixels())


def test_outputs_beyond_the_split_are_as_if_they_were_not(tiny: Tiny, pixels: Pixels) -> None:
    for method, larger in zip(with_classifier(tiny, 6), with_classifier(tiny, 9), strict=True):
        state, episode = method.state_dict(), pixels()
        for name in state:
            if name.startswith("classifier."):
                rest = larger.state_dict()[name][6:]
                state[name] = torch.cat([state[name], rest])
        larger.load_state_dict(state)
        losses = []
        for one in (method.train(), larger.train()):
            torch.manual_seed(1)
            losses.append(one.loss(one(episode), episode))
            losses[-1]["loss"].backward()
        torch.testing.assert_close(losses[0], losses[1])
        assert method.classifier is not None
        assert larger.classifier is not None
        grad = larger.classifier.weight.grad
        assert grad is not None
        torch.testing.assert_close(grad[:6], method.classifier.weight.grad)
        assert not grad[6:].any()


def test_d2st_loss_and_metric_written_out(tiny: Tiny, pixels: Pixels) -> None:
    encoder = Adapted(tiny(), D2STAdapter(), project=False)
    method, episode = D2ST(encoder, BiMHM(cost=CosineCost(0)), class_weight=0.5, train_classes=6).train(), pixels()
    scores = method(episode)
    losses = method.loss(scores, episode)
    torch.testing.assert_close(losses["loss"], losses["few_shot_loss"] + 0.5 * losses["class_loss"])
    support, query = encoder(episode.support["frames"]), encoder(episode.query["frames"])
    cost = 1 - torch.einsum("qtd,nud->qntu", F.normalize(query, dim=-1), F.normalize(support, dim=-1))
    expected = -(cost.amin(-1).sum(-1) + cost.amin(-2).sum(-1))
    torch.testing.assert_close(scores.few_shot, expected, rtol=1e-4, atol=1e-4)
    classes = torch.cat([episode.support_classes, episode.query_classes])
    pooled = torch.cat([support, query]).mean(1)
    torch.testing.assert_close(losses["class_loss"], F.cross_entropy(method.classifier(pooled), classes))


def test_published_number_of_weights_of_d2st() -> None:
    encoder = Adapted(ClipEncoder("ViT-B-16", None), D2STAdapter(), project=False)
    adapters = sum(p.numel() for block in encoder.blocks for p in block.adapter.parameters())
    ends = 768 + 8 * 768 + 2 * 768  # class embedding, frame embeddings, closing norm
    assert adapters == 7_274_304
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == adapters + ends
