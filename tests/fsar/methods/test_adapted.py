"""What every method with adapters or a side network must keep to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from episodes.clips import combined
from episodes.episode import Episode, IndexEpisode, VideoBatch
from fsar.adapters import AIM, EVL, D2STAdapter, Ladder, LoRA, MAClipAdapter, STAdapter
from fsar.alignment import OTAM, TRX, BiMHM, CosineCost
from fsar.encoders import ClipEncoder
from fsar.encoders.adapted import Adapted
from fsar.encoders.beside import Beside
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.method import Method
from fsar.methods import D2ST, TSFSAR, ActionCLIP, Clip4Clip, ClipFSAR, CoCoOp, CoOp, MAClip, Prototype
from fsar.temporal import SequenceTransformer

Tiny = Callable[..., ClipEncoder]
Pixels = Callable[..., Episode]
LADDER = Ladder(width=16, heads=2, temporal=(1,))
MAKERS: dict[str, Callable[[Tiny], Method]] = {
    "ma_clip": lambda tiny: MAClip(Adapted(tiny(), MAClipAdapter()), OTAM()),
    "ma_clip bi-mhm": lambda tiny: MAClip(Adapted(tiny(), MAClipAdapter(start_masked=False)), BiMHM()),
    "ma_clip resnet": lambda tiny: MAClip(tiny(tune="full"), OTAM()),
    "action_clip": lambda tiny: ActionCLIP(tiny(tune=1, tune_text=True), SequenceTransformer),
    "action_clip text": lambda tiny: ActionCLIP(tiny(tune=1), classify_by="text"),
    "action_clip both": lambda tiny: ActionCLIP(Adapted(tiny(), STAdapter()), classify_by="both"),
    "d2st": lambda tiny: D2ST(
        Adapted(tiny(), D2STAdapter(), project=False), BiMHM(cost=CosineCost(0)), train_classes=6
    ),
    "d2st plain": lambda tiny: D2ST(Adapted(tiny(), D2STAdapter()), OTAM(), class_weight=0),
    "ts_fsar": lambda tiny: TSFSAR(tiny(), LADDER, train_classes=6),
    "ts_fsar otam": lambda tiny: TSFSAR(tiny(), LADDER, train_classes=6, alignment=OTAM()),
    "clip_fsar aim": lambda tiny: ClipFSAR(Adapted(tiny(), AIM(drop_path=0)), OTAM()),
    "clip_fsar lora": lambda tiny: ClipFSAR(Adapted(tiny(), LoRA()), OTAM()),
    "prototype evl": lambda tiny: Prototype(Beside(tiny(), EVL(layers=1, dropout=0)), OTAM()),
    "prototype ladder": lambda tiny: Prototype(Beside(tiny(), LADDER), BiMHM()),
}


def trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", MAKERS)
def test_a_few_steps_on_one_episode_lower_the_loss_and_leave_the_frozen_weights(
    tiny: Tiny, pixels: Pixels, name: str
) -> None:
    method, episode = MAKERS[name](tiny).train(), pixels()
    frozen = {n: p.detach().clone() for n, p in method.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.Adam(trained(method), lr=1e-3)
    losses = []
    for _ in range(6):
        for module in method.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        loss = method.loss(method(episode), episode)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, frozen[n]) for n, p in method.named_parameters() if n in frozen)
    assert frozen or "tune" in name or "resnet" in name or "action" in name


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("shots", [1, 2])
def test_videos_encoded_once_score_as_their_pixels_do(tiny: Tiny, pixels: Pixels, name: str, shots: int) -> None:
    method, episode = MAKERS[name](tiny).eval(), pixels(shots=shots)
    with torch.no_grad():
        expected = method(episode)
    bank = VideoBank(method)
    clips = combined(torch.cat, [episode.support, episode.query])
    classes = torch.cat([episode.support_classes, episode.query_classes])
    numbers = torch.randperm(len(classes))
    for part in numbers.split(4):
        bank.add(VideoBatch(part, clips.at(part), classes[part], episode.class_names))
    indexed = IndexEpisode(
        torch.arange(len(episode.support_labels)),
        torch.arange(len(episode.query_labels)) + len(episode.support_labels),
        episode.support_labels,
        episode.query_labels,
        episode.classes,
        episode.class_names,
        episode.number,
    )
    scores = score_episodes(bank, IndexEpisode.stack([indexed, indexed]))
    torch.testing.assert_close(scores.logits[1], expected.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(expected.probabilities, expected.logits.softmax(-1))
    assert not torch.allclose(scores.probabilities[0, 0], torch.full((3,), 1 / 3), atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_a_query_does_not_see_the_others(tiny: Tiny, pixels: Pixels, name: str) -> None:
    method, episode, other = MAKERS[name](tiny).eval(), pixels(), pixels()
    other.query["frames"][1:] = torch.rand_like(other.query["frames"][1:])
    with torch.no_grad():
        torch.testing.assert_close(method(episode).logits[0], method(other).logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ma_clip", "action_clip both", "d2st", "ts_fsar", "prototype evl"])
def test_relabelled_classes_permute_the_logits(tiny: Tiny, pixels: Pixels, name: str, checks: Any) -> None:
    method, episode = MAKERS[name](tiny).eval(), pixels(shots=2)
    order = torch.tensor([2, 0, 1])  # old label -> new label
    with torch.no_grad():
        torch.testing.assert_close(
            method(checks.relabelled(episode, order)).logits[:, order], method(episode).logits, rtol=1e-4, atol=1e-4
        )


TRAINED = {
    "ma_clip": r"\.adapter\.|^tpcm\.",
    "d2st": r"\.adapter\.|frame_positions|class_embedding|ln_post|^classifier\.",
    "ts_fsar": r"^encoder\.side\.|^alignment\.|^up\.|^clip_norm|^clip_attention|^classifier\.",
    "clip_fsar aim": r"\.adapter\.|frame_positions|ln_post|^temporal\.|^scale$",
    "prototype evl": r"^encoder\.side\.",
}


@pytest.mark.parametrize("name", TRAINED)
def test_only_what_the_paper_trains_is_trained(tiny: Tiny, name: str) -> None:
    names = [n for n, p in MAKERS[name](tiny).named_parameters() if p.requires_grad]
    assert names
    assert [n for n in names if not re.search(TRAINED[name], n)] == []


def test_ma_clip_with_a_metric_that_compares_every_shot(tiny: Tiny, pixels: Pixels) -> None:
    method = MAClip(Adapted(tiny(), MAClipAdapter()), TRX(48, width=16)).eval()
    assert method(pixels(shots=2)).logits.shape == (6, 3)


OTHERS: dict[str, Callable[[Tiny], Method]] = {
    "clip_fsar": lambda tiny: ClipFSAR(tiny(), OTAM()),
    "clip_fsar full": lambda tiny: ClipFSAR(tiny(tune="full"), OTAM()),
    "clip_fsar st last": lambda tiny: ClipFSAR(Adapted(tiny(), STAdapter(), last=1), OTAM()),
    "coop": lambda tiny: CoOp(tiny()),
    "cocoop": lambda tiny: CoCoOp(tiny()),
    "clip4clip": lambda tiny: Clip4Clip(tiny(), "lstm"),
}
TRAIN_THE_TOWER = {
    "ma_clip resnet",
    "action_clip",
    "action_clip text",
    "d2st",
    "d2st plain",
    "clip_fsar aim",
    "clip_fsar full",
}


@pytest.mark.parametrize("name", {**MAKERS, **OTHERS})
def test_checkpointing_changes_no_gradient_and_bfloat16_little(tiny: Tiny, pixels: Pixels, name: str) -> None:
    def step(mixed: bool, **options: object) -> tuple[float, torch.Tensor]:
        method = {**MAKERS, **OTHERS}[name](lambda **own: tiny(**options, **own)).train()
        for module in method.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = method.loss(method(pixels()), pixels())["loss"]
        loss.backward()
        gradients = [p.grad.flatten() for p in trained(method) if p.grad is not None]
        assert all(g.dtype == torch.float32 for g in gradients)
        return float(loss.detach()), torch.cat(gradients)

    loss, gradient = step(False)
    again, same = step(False, checkpointing=True)
    assert again == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(same, gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()) + 1e-9)
    coarse, rough = step(True, checkpointing=True)
    assert coarse == pytest.approx(loss, rel=0.03)
    assert torch.isfinite(rough).all()
    if name in TRAIN_THE_TOWER:
        with pytest.raises(ValueError, match="precision='bf16'"):
            step(True, precision="bf16")
    else:
        coarse, rough = step(True, precision="bf16")
        assert coarse == pytest.approx(loss, rel=0.05)
        assert torch.isfinite(rough).all()
