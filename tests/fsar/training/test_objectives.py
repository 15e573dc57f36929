"""Objectives beside a method: gathered once a step, whatever the method; refused when a need cannot be met."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from episodes.annotations.captions import pack_captions, read_captions
from episodes.clips import Features, Streams
from episodes.episode import Episode
from fsar.adapters import AIM, MAClipAdapter, TaskAdapter
from fsar.alignment import OTAM
from fsar.encoders import Adapted, ClipEncoder
from fsar.fusion import AlignmentMap
from fsar.methods import ActionCLIP, ClipFSAR, MAClip, Prototype, TaskAdapterPlusPlus, TipAdapterViews
from fsar.objectives import (
    Anchor,
    AssignmentRule,
    BackgroundText,
    MultiPositiveSigmoid,
    Objective,
    Step,
    SubCaptionGrouping,
    SymmetricContrast,
    TrimodalContrast,
    WordMap,
    WordRegionContrast,
)
from fsar.text import DropWords, TextBank
from fsar.training.learner import Learner, check_checkpoint
from fsar.training.objectives import frozen_copy

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")
Tiny = Callable[..., ClipEncoder]
NAMES = tuple(f"doing {word}" for word in "abcde")


def episode(seed: int = 0, number: int = 3) -> Episode:
    g = torch.Generator().manual_seed(seed)
    clips = torch.randint(256, (7, 4, 3, 32, 32), generator=g, dtype=torch.uint8)
    support, query = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2, 1])
    return Episode(clips[:3], clips[3:], support, query, torch.tensor([4, 0, 2]), NAMES, torch.tensor(number))


class Seen(Objective):
    """Keeps what it was handed."""

    name = "seen"
    needs = needs_joint = ("frames", "patches")
    needs_frozen = True

    def forward(self, step: Step) -> dict[str, Tensor]:
        self.step = step
        return {"loss": step.features["frames"].square().mean(), "told": torch.tensor(2.0)}


METHODS: dict[str, Callable[[Tiny], Any]] = {
    "prototype": lambda tiny: Prototype(tiny(tune="full"), OTAM()),
    "clip_fsar": lambda tiny: ClipFSAR(tiny(tune=1), OTAM()),
    "clip_fsar, two passes": lambda tiny: ClipFSAR(tiny(tune=1), OTAM(), separate_passes=True),
    "action_clip": lambda tiny: ActionCLIP(tiny(tune="full")),
    "ma_clip": lambda tiny: MAClip(Adapted(tiny(), MAClipAdapter()), OTAM()),
    "aim": lambda tiny: ClipFSAR(Adapted(tiny(), AIM(frames=4)), OTAM()),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_objectives_and_encodes_nothing_twice(tiny: Tiny, name: str) -> None:
    torch.manual_seed(0)
    method, seen = METHODS[name](tiny), Seen(weight=0.5)
    learner = Learner(method, objectives=[seen]).train()
    learner.setup("fit")
    learner.on_fit_start()
    passes = []
    method.encoder.visual.conv1.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    loss = learner.training_step(episode(), 0)
    assert sum(passes) == 7 * 4
    step = seen.step
    assert step.labels.tolist() == [4, 0, 2, 4, 0, 2, 0]
    assert step.features["patches"].shape == (7, 4, 64, 48)  # projected
    assert step.frozen is not None
    assert "features_of" not in vars(method)
    torch.manual_seed((learner.base_seed * 1_000_003 + 3) % 2**63)
    own = method.loss(method(episode()), episode())["loss"]
    torch.testing.assert_close(loss, own + 0.5 * step.features["frames"].square().mean())
    loss.backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in method.encoder.visual.parameters())


def test_losses_are_named_and_the_methods_own_is_first(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(ClipFSAR(tiny(tune=1), OTAM()), objectives=[Seen(), SymmetricContrast(), SymmetricContrast()])
    learner.train().on_fit_start()
    logged: dict[str, Any] = {}
    monkeypatch.setattr(learner, "log_dict", lambda values, batch_size: logged.update(values))
    total = learner.training_step(episode(), 0)
    assert list(logged) == [
        *("train_loss", "train_method_loss", "train_few_shot_loss", "train_video_text_loss"),
        *("train_seen", "train_seen_told", "train_contrast", "train_contrast_2"),
    ]
    parts = [logged[f"train_{name}"] for name in ("method_loss", "seen", "contrast", "contrast_2")]
    torch.testing.assert_close(total.detach(), sum(parts))


def test_captions_reach_the_objectives_from_the_clips(tiny: Tiny) -> None:
    plain, seen = episode(), Seen()
    said = torch.stack([pack_captions([f"caption {i}"], 1) for i in range(7)])
    clips = [
        Streams({**x, "captions": y}) for x, y in zip((plain.support, plain.query), said.split([3, 4]), strict=True)
    ]
    learner = Learner(Prototype(tiny(tune="full"), OTAM()), objectives=[seen]).train()
    learner.on_fit_start()
    learner.training_step(replace(plain, support=clips[0], query=clips[1]), 0)
    assert seen.step.captions is not None
    assert [read_captions(clip) for clip in seen.step.captions] == [[f"caption {i}"] for i in range(7)]
    learner.training_step(plain, 0)
    assert seen.step.captions is None


def test_without_objectives_nothing_changes(tiny: Tiny) -> None:
    method = ClipFSAR(tiny(tune=1), OTAM())
    learner = Learner(method).train()
    learner.on_fit_start()
    loss = learner.training_step(episode(), 0)
    torch.manual_seed((learner.base_seed * 1_000_003 + 3) % 2**63)
    torch.testing.assert_close(loss, method.loss(method(episode()), episode())["loss"])
    assert method.needs == ("frames",)
    assert not any("objectives" in name for name in learner.state_dict())


def test_the_frozen_features_are_those_from_before_training(tiny: Tiny) -> None:
    torch.manual_seed(0)
    method, anchor = ClipFSAR(tiny(tune="full"), OTAM()), Anchor(10.0)
    clips = episode()
    before = method.encoder.eval()(torch.cat([clips.support["frames"], clips.query["frames"]])).detach()
    learner = Learner(method, torch.optim.SGD, objectives=[anchor]).train()
    learner.setup("fit")
    learner.on_fit_start()
    with torch.no_grad():
        for weight in method.encoder.visual.parameters():
            weight.mul_(1.1)
    (kept,) = learner.objectives._frozen
    torch.testing.assert_close(kept(torch.cat([clips.support["frames"], clips.query["frames"]])), before)
    with learner.objectives.recorded(method) as seen:
        scores = method(clips)
    losses = learner.objectives.add_losses(method.loss(scores, clips), seen, method, clips)
    assert losses["anchor"] > 0
    assert not any("_frozen" in name for name in learner.state_dict())


def test_the_anchor_holds(tiny: Tiny) -> None:
    """After the same steps the encoder is nearer to where it began than without."""

    def moved(objectives: list[Objective]) -> float:
        torch.manual_seed(0)
        method = ClipFSAR(tiny(tune="full"), OTAM())
        learner = Learner(method, torch.optim.Adam, objectives=objectives).train()
        learner.setup("fit")
        learner.on_fit_start()
        start = frozen_copy(method.encoder)
        optimizer = torch.optim.Adam(learner.parameters(), 1e-3)
        for number in range(4):
            loss = learner.training_step(episode(number, number), 0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        clips = episode(99).query["frames"]
        with torch.no_grad():
            return float(1 - torch.cosine_similarity(method.encoder.eval()(clips), start(clips), dim=-1).mean())

    assert moved([Anchor(5.0)]) < 0.5 * moved([])


def test_frozen_features_of_stored_tokens_are_those_of_pixels(tiny: Tiny) -> None:
    whole, seen = episode(), Seen()
    method = Prototype(tiny(tune=1), OTAM())
    learner = Learner(method, objectives=[seen]).train()
    learner.setup("fit")
    learner.on_fit_start()
    with torch.no_grad():
        for weight in method.encoder.parameters():
            if weight.requires_grad:
                weight += 0.1
    learner.training_step(whole, 0)
    frozen, now = seen.step.frozen, seen.step.features
    assert frozen is not None
    assert not torch.allclose(frozen["frames"], now["frames"])
    halves = {role: method.encoder.below(getattr(whole, role)) for role in ("support", "query")}
    learner.training_step(replace(whole, **halves), 0)
    assert seen.step.frozen is not None
    torch.testing.assert_close(seen.step.frozen["frames"], frozen["frames"])
    torch.testing.assert_close(seen.step.features["frames"], now["frames"])


def test_stacked_episodes_are_one_step(tiny: Tiny) -> None:
    method, seen = Prototype(tiny(tune="full"), OTAM()), Seen()
    learner = Learner(method, objectives=[seen]).train()
    learner.on_fit_start()
    learner.training_step(Episode.stack([episode(0), episode(1)]), 0)
    assert seen.step.labels.tolist() == 2 * [4, 0, 2, 4, 0, 2, 0]
    alone = method.features_of(Streams(frames=episode(1).query["frames"]))["frames"]
    torch.testing.assert_close(seen.step.features["frames"][10:], alone)


def test_learned_parts_are_trained_undecayed_and_kept_but_tests_do_without(tiny: Tiny) -> None:
    learner = Learner(ClipFSAR(tiny(tune=1), OTAM()), torch.optim.AdamW, objectives=[MultiPositiveSigmoid()])
    groups = learner.parameter_groups()
    ours = {id(p) for p in learner.objectives.parameters()}
    assert next(g for g in groups if ours & {id(p) for p in g["params"]})["weight_decay"] == 0.0
    state = learner.state_dict()
    assert {"objectives.0.log_scale", "objectives.0.bias"} < set(state)
    checkpoint = {"state_dict": state}
    check_checkpoint(learner, checkpoint)
    check_checkpoint(Learner(learner.method), checkpoint)


def test_needs_that_cannot_be_met_are_told_in_one_message(tiny: Tiny, tmp_path: Path) -> None:
    frozen, vision = ClipFSAR(tiny(), OTAM()), Prototype(tiny(tune="full"), OTAM())
    tuned = ClipFSAR(tiny(tune="full"), OTAM())
    vision.encoder.text = None
    bare = Prototype(Adapted(tiny(), AIM(frames=4), project=False), OTAM())
    for objective, method, message in (
        (
            TrimodalContrast(),
            ClipFSAR(tiny(tune=1), OTAM()),
            "reads frames and sound, but ClipEncoder",
        ),
        (Anchor(), frozen, "Anchor trains what the encoder says of a clip, but .* stays as it is"),
        (SymmetricContrast(), vision, "SymmetricContrast compares clips with texts, but .* has no text tower"),
        (WordRegionContrast(), bare, "no text tower"),
        (SymmetricContrast(TextBank(kinds=["name"])), tuned, "as its option kinds"),
        (MultiPositiveSigmoid(TextBank(mix={"name": 1.0})), tuned, "mix works in the texts of the method"),
        (SymmetricContrast(TextBank(augment=[DropWords(0.5)])), tuned, "augment works in the texts of the method"),
    ):
        with pytest.raises(ValueError, match=message):
            Learner(method, objectives=[objective])
    for objective, message in (
        (BackgroundText(5), "BackgroundText was made for channels=5, but the text tower gives 48"),
        (WordMap(AlignmentMap(5)), "AlignmentMap was made for frames of 5 channels and words of 5, found 48 and 48"),
    ):
        with pytest.raises(ValueError, match=message):
            Learner(tuned, objectives=[objective])
    no_projection = tiny(tune="full")
    no_projection.visual.proj = None  # as the tower of a ResNet has none
    with pytest.raises(ValueError, match="cannot be projected"):
        Learner(Prototype(no_projection, OTAM()), objectives=[WordRegionContrast("patches")])


def test_a_method_that_encodes_by_itself_is_told(tiny: Tiny) -> None:
    class Own(Prototype):
        def encode(self, clips: Streams, text: Tensor | None = None) -> Features:
            return self.encoder.features(clips, ("frames",))

    learner = Learner(Own(tiny(tune="full"), OTAM()), objectives=[Seen()]).train()
    learner.on_fit_start()
    with pytest.raises(ValueError, match="which gave frames, but its objectives read frames and patches"):
        learner.training_step(episode(), 0)


def test_a_method_that_encodes_in_a_way_of_its_own_and_says_so_is_refused_when_they_are_joined(tiny: Tiny) -> None:
    views = TipAdapterViews(tiny(tune=1))
    with pytest.raises(ValueError, match=r"reads patches, but TipAdapterViews encodes .* its own, which gives frames:"):
        Learner(views, objectives=[WordRegionContrast("patches")])
    Learner(views, objectives=[Anchor()])
    pixels = TaskAdapterPlusPlus(Adapted(tiny(), TaskAdapter(across_clips=True), last=1), 1)
    with pytest.raises(ValueError, match=r"Anchor reads frames, but TaskAdapterPlusPlus .* which gives no features:"):
        Learner(pixels, objectives=[Anchor()])


def test_merged_classes_are_written_to_the_run(tiny: Tiny, tmp_path: Path) -> None:
    rule = AssignmentRule(None, -1.0, 0.5, None)
    fff = MultiPositiveSigmoid(rule=rule)
    fff.merged.update({("a", "b"): 3})
    learner = Learner(ClipFSAR(tiny(tune=1), OTAM()), objectives=[SubCaptionGrouping(kinds=["template"]), fff])

    class Trainer:
        is_global_zero, default_root_dir = True, str(tmp_path)

    learner.objectives.tell(Trainer())  # type: ignore[arg-type]
    assert json.loads((tmp_path / "objectives.json").read_text()) == {"fff": {"a <- b": 3}}
