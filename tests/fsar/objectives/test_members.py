"""What holds of every objective, whatever its paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import fsar.objectives
from episodes.clips import Features
from fsar.fusion import AlignmentMap
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
from fsar.text import TextBank

MakeStep = Callable[..., Step]
TEXTS = """
opening a box: {description: [a lid goes up, a box with its lid open], step: [a closed box, a lid rises, a box is open]}
closing a box: {description: [a lid goes down], step: [an open box, a lid falls]}
pouring water: {description: [water runs into a glass], step: [a jug is lifted, it tilts, water runs]}
pretending to pour water: {description: [no water runs, a dry jug], step: [a jug is lifted, it tilts, nothing runs]}
"""


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> TextBank:
    path = tmp_path_factory.mktemp("texts") / "texts.yaml"
    path.write_text(TEXTS)
    return TextBank(descriptions=str(path))


MEMBERS: dict[str, Callable[[TextBank], Objective]] = {
    "anchor": lambda bank: Anchor(),
    "background": lambda bank: BackgroundText(8),
    "fff": lambda bank: MultiPositiveSigmoid(bank, ["template", "description"], AssignmentRule(0.9, 0.8, 0.8, 0.95)),
    "fff, labels alone": lambda bank: MultiPositiveSigmoid(bank, ["description"]),
    "contrast": lambda bank: SymmetricContrast(bank, ["description"]),
    "contrast, ActionCLIP": lambda bank: SymmetricContrast(target_temperature=10.0),
    "grouping, minmax": lambda bank: SubCaptionGrouping("minmax", texts=bank, threshold="1/P"),
    "grouping, softmax": lambda bank: SubCaptionGrouping("softmax", "patches", texts=bank),
    "grouping, monotone": lambda bank: SubCaptionGrouping("monotone", texts=bank),
    "grouping, within": lambda bank: SubCaptionGrouping("monotone", negatives="within", texts=bank),
    "words": lambda bank: WordRegionContrast(),
    "words, steps": lambda bank: WordRegionContrast("frames", "texts", bank, ["step"]),
    "word map": lambda bank: WordMap(AlignmentMap(8)),
    "trimodal": lambda bank: TrimodalContrast(),
}


@pytest.fixture(params=MEMBERS)
def member(request: pytest.FixtureRequest, bank: TextBank) -> Objective:
    return MEMBERS[request.param](bank)


def reordered(step: Step, order: torch.Tensor) -> Step:
    frozen = None if step.frozen is None else step.frozen.map(lambda x: x[order])
    return replace(step, features=step.features.map(lambda x: x[order]), labels=step.labels[order], frozen=frozen)


def test_the_whole_room_is_here() -> None:
    classes = {x for x in vars(fsar.objectives).values() if isinstance(x, type) and issubclass(x, Objective)}
    seen = {type(make(TextBank())) for name, make in MEMBERS.items()}
    assert seen == classes - {Objective}
    assert len({each.name for each in seen}) == len(seen)


def test_gradients_reach_what_it_reads(member: Objective, make_step: MakeStep) -> None:
    step = make_step()
    step.features["patches"].requires_grad_()
    losses = member(step)
    assert all(value.dim() == 0 and bool(value.isfinite()) for value in losses.values())
    losses["loss"].backward()
    for name in set(member.needs) - {"sound"}:
        grad = step.features[name].grad
        assert grad is not None
        assert bool(grad.isfinite().all())
        assert float(grad.abs().max()) > 0
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in member.parameters())


def test_the_order_of_clips_does_not_matter(member: Objective, make_step: MakeStep) -> None:
    step = make_step()
    again = reordered(step, torch.tensor([3, 0, 6, 2, 1, 5, 4]))
    torch.testing.assert_close(member(step)["loss"], member(again)["loss"], atol=1e-5, rtol=1e-5)


def test_a_clip_counts_by_its_class_alone(member: Objective, make_step: MakeStep) -> None:
    """Numbers of classes are names: other numbers, and classes without a clip, change nothing."""
    step = make_step()
    names = ("x", *step.class_names, "y")
    torch.testing.assert_close(member(step), member(replace(step, labels=step.labels + 1, class_names=names)))


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e15])
def test_extremes_are_finite(member: Objective, make_step: MakeStep, size: float) -> None:
    step = make_step()
    features = Features({name: (size * x).detach().requires_grad_() for name, x in step.features.items()})
    loss = member(replace(step, features=features))
    assert bool(loss["loss"].isfinite())
    if loss["loss"].requires_grad:
        loss["loss"].backward()
    assert all(x.grad is None or bool(x.grad.isfinite().all()) for x in features.values())


def test_one_class_alone_is_legal(member: Objective, make_step: MakeStep) -> None:
    step = make_step(labels=torch.zeros(7, dtype=torch.int64))
    assert bool(member(step)["loss"].isfinite())


def test_a_class_without_a_text_of_the_kind_is_named(make_step: MakeStep) -> None:
    with pytest.raises(ValueError, match="no text of kind description about the class 'opening a box'"):
        SubCaptionGrouping()(make_step())


def test_wrong_options(make_step: MakeStep) -> None:
    with pytest.raises(ValueError, match="weight must not be negative"):
        Anchor(-1.0)
    with pytest.raises(ValueError, match="follows steps through time"):
        SubCaptionGrouping("monotone", "patches")
    with pytest.raises(ValueError, match="follows steps through time"):
        SubCaptionGrouping("monotone", kinds=["description"])
    with pytest.raises(ValueError, match="threshold must lie in 0"):
        SubCaptionGrouping(threshold=2.0)
    with pytest.raises(ValueError, match=r"scale must lie in \(0, 100\]"):
        SymmetricContrast(scale=0)
    with pytest.raises(ValueError, match="channels=5, but the text tower gives 8"):
        BackgroundText(5)(make_step())
    for make in (SymmetricContrast, MultiPositiveSigmoid, SubCaptionGrouping, WordRegionContrast, TrimodalContrast):
        with pytest.raises(ValueError, match=f"{make.__name__}: kinds must name one or more of name, template,"):
            make(kinds=[])
    with pytest.raises(ValueError, match="BackgroundText: kinds must name"):
        BackgroundText(8, kinds=["caption"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="p2 and p1_near work together"):
        AssignmentRule(p2=None)


def test_descriptions_of_all_kinds_are_read(bank: TextBank, tmp_path: Path) -> None:
    assert bank.texts("pouring water", ["step"]) == ["a jug is lifted", "it tilts", "water runs"]
