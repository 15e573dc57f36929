"""Parts that were made for other clips, or for another encoder, are told before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fsar.objectives
from episodes.datamodule import EpisodicDataModule
from episodes.splits import Benchmark, Split
from fsar.adapters.base import FramePositions
from fsar.adapters.d2st import DeformableAttention
from fsar.alignment import OTAM, SoftDTW
from fsar.alignment.covariance import AlphaDistance
from fsar.encoders import ClipEncoder, FrameEncoder
from fsar.fusion import Fusion, InterView, MultiScale, RegionAttention
from fsar.methods import ClipFSAR, Prototype
from fsar.objectives import SubCaptionGrouping
from fsar.temporal import FrameMotion, HybridRelation, TemporalTransformer
from fsar.temporal.motion import MotionBranch
from fsar.temporal.video_heads import ClassTokenTransformer
from fsar.temporal.warp import TemporalWarp
from fsar.text import TextBank
from fsar.training.joining import PRECISIONS, check_classes, check_joined, check_precision


def method(
    temporal: nn.Module | None = None, alignment: nn.Module | None = None, visual: nn.Module | None = None
) -> Prototype:
    encoder = FrameEncoder(visual or nn.Identity(), channels=16, image_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Prototype(encoder, alignment or OTAM(), temporal)  # type: ignore[arg-type]


PARTS: list[Callable[[], Prototype]] = [
    lambda: method(visual=FramePositions(8, 16)),
    lambda: method(ClassTokenTransformer(16)),
    lambda: method(alignment=AlphaDistance(16)),
    lambda: method(TemporalTransformer(16, positions=8)),
]


@pytest.mark.parametrize(
    ("fusion", "temporal", "told"),
    [
        (InterView(channels=64, views=3), None, "8 frames do not fall into views=3"),
        (MultiScale(grids=[9]), None, "64 patches in 8 rows cannot be averaged into 9 x 9"),
        (RegionAttention(patches=65), None, "a frame has 64 of them"),
        (MultiScale(grids=[2]), TemporalTransformer(64), "made for 64 channels, but MultiScale gives grid 2 of 96"),
        (MultiScale(grids=[2], fuse="concat", channels=64, width=96), TemporalTransformer(64), ""),
        (RegionAttention(by="text"), TemporalTransformer(64), "RegionAttention gives frames of 4160"),
        (RegionAttention(by="text"), None, ""),
        (InterView(channels=64, views=8, residual="plain", published=True), None, ""),
    ],
)
def test_fusion(fusion: Fusion, temporal: nn.Module | None, told: str) -> None:
    made = Prototype(ClipEncoder("fsar-tiny", "shapes"), OTAM(), temporal, fusion)
    state, before = torch.get_rng_state(), {name: x.clone() for name, x in fusion.state_dict().items()}
    with pytest.raises(ValueError, match=told) if told else nullcontext():
        check_joined(made, 8)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(x, before[name]) for name, x in fusion.state_dict().items())


def test_a_fusion_of_features_whose_shape_is_not_known_is_left_alone() -> None:
    made = Prototype(ClipEncoder("fsar-tiny", "shapes"), OTAM(), None, Fusion())
    made.fusion.needs = ("frames", "sound")  # type: ignore[union-attr]
    check_joined(made, 8)  # Fusion().fuse is not written


@pytest.mark.parametrize("make", PARTS)
def test_frames_of_parts(make: Callable[[], Prototype]) -> None:
    made = make()
    check_joined(made, 8)
    with pytest.raises(ValueError, match=r"data.frames is 16, but .* 8"):
        check_joined(made, 16)


def test_steps_that_the_encoder_makes_of_the_frames() -> None:
    made = method(TemporalTransformer(16, positions=8), AlphaDistance(16))
    made.encoder.steps = lambda frames: frames // 2  # type: ignore[method-assign]
    check_joined(made, 16)
    with pytest.raises(
        ValueError,
        match=r"8, of which FrameEncoder makes 4 steps, but .* made for .* 8 .* data.frames to 16",
    ):
        check_joined(made, 8)


@pytest.mark.parametrize(
    ("part", "fewest", "why"),
    [
        (FrameMotion(16), 2, "the motion that Prototype reads is between two of them"),
        (MotionBranch(16), 2, "the motion that Prototype reads is between two of them"),
        (TemporalWarp(16), 4, "TA2N pools time twice by two"),
        (DeformableAttention(16, 4, (4, 5, 5), (4, 3, 3)), 4, "D2ST-Adapter finds its points by a convolution over 4"),
    ],
)
def test_parts_that_need_some_frames_at_least(part: nn.Module, fewest: int, why: str) -> None:
    made = method(nn.Identity())
    made.temporal.part = part
    check_joined(made, fewest)
    with pytest.raises(ValueError, match=rf"data.frames is {fewest - 1}, but {why}.*: set data.frames to {fewest} or"):
        check_joined(made, fewest - 1)
    made.encoder.steps = lambda frames: frames // 2  # type: ignore[method-assign]
    check_joined(made, 2 * fewest)
    with pytest.raises(ValueError, match=rf"{fewest // 2} steps?, but {why}.*: set data.frames to {2 * fewest} or"):
        check_joined(made, fewest)


def test_a_text_takes_a_position_as_well() -> None:
    made = ClipFSAR(ClipEncoder("fsar-tiny", "shapes"), OTAM(), positions=9)
    check_joined(made, 8)
    with pytest.raises(ValueError, match=r"is 9 \(and a text\), but .* has 9 positions: give --model\.positions 10"):
        check_joined(made, 9)
    with pytest.raises(ValueError, match=r"has 9 tokens, but there are 8 positions"):
        TemporalTransformer(16, positions=8)(torch.rand(2, 9, 16))


@pytest.mark.parametrize(
    "part",
    [
        HybridRelation,
        MotionBranch,
        lambda channels: nn.Linear(channels + 1, channels),
        lambda channels: nn.TransformerEncoderLayer(channels, 2, batch_first=True),  # clips alone, no episodes
    ],
)
def test_parts_of_other_methods_are_no_temporal_modules(part: Callable[[int], nn.Module]) -> None:
    check_joined(method(nn.Linear(16, 16)), 8)
    with pytest.raises(ValueError, match=r"is no temporal module by itself, .* of \(8, 16\): .*TemporalTransformer"):
        check_joined(method(part(16)), 8)


def test_channels_of_the_temporal_module() -> None:
    check_joined(method(TemporalTransformer(16)), 5)
    with pytest.raises(ValueError, match=r"features of 16 channels, .* made for 32: give --model.temporal.channels 16"):
        check_joined(method(TemporalTransformer(32)), 5)


@pytest.mark.parametrize("make", [OTAM, SoftDTW])
@pytest.mark.parametrize("temperature", [0.0, -1.0, torch.inf, torch.nan])
def test_a_temperature_is_positive_and_finite(make: Callable[..., object], temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        make(temperature=temperature)


@pytest.mark.parametrize("make", [TemporalTransformer, ClassTokenTransformer])
def test_a_depth_is_one_at_least(make: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="depth must be at least 1, found 0"):
        make(16, depth=0)


@pytest.mark.parametrize("precision", [*PRECISIONS, "32", 32, "16", None])
def test_precisions_that_train(precision: object) -> None:
    check_precision(precision)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64", 64, "64-true", "transformer-engine"])
def test_precisions_that_do_not(precision: object) -> None:
    with pytest.raises(ValueError, match="expected one of 32-true, 16-mixed, bf16-mixed"):
        check_precision(precision)


class Said:
    """A benchmark of clips that do not exist: classes a and b are trained on, c and d are for validation and test."""

    def load(self) -> Benchmark:
        train = Split("train", ("a", "b"), ("a.mp4", "b.mp4"), (0, 1), Path("nowhere"))
        others = (Split(name, (c,), (f"{c}.mp4",), (0,), Path("nowhere")) for name, c in (("val", "c"), ("test", "d")))
        return Benchmark("said", train, *others)


@pytest.mark.parametrize(
    ("objectives", "texts", "frames", "said"),
    [
        ([], {}, 4, None),
        ([], {"kinds": ["description"]}, 4, r"ClipFSAR: .* kind description about the class 'c' in .*texts\.yaml"),
        ([], {"mix": {"name": 0.9, "step": 0.1}}, 4, r"ClipFSAR: .* kind step about the class 'b' in .*texts\.yaml"),
        ([("SubCaptionGrouping", {})], {}, 4, None),
        (
            [("SubCaptionGrouping", {"mode": "monotone"})],
            {},
            4,
            r"SubCaptionGrouping: .* kind step about the class 'b'",
        ),
        ([("SymmetricContrast", {"kinds": ["name", "caption"]})], {}, 4, r"SymmetricContrast: .* give data\.captions"),
    ],
)
def test_classes_of_which_nothing_is_said_are_told_before_any_video_is_read(
    objectives: list[Any], texts: Any, frames: int, said: str | None, tmp_path: Path, tiny: Callable[..., ClipEncoder]
) -> None:
    (tmp_path / "texts.yaml").write_text("a: {description: [x], step: [x, y, z]}\nb: [y]\n")
    bank = {"descriptions": str(tmp_path / "texts.yaml")}
    method = ClipFSAR(tiny(), OTAM(), texts=TextBank(**bank, **texts))
    made = [getattr(fsar.objectives, name)(texts=TextBank(**bank), **given) for name, given in objectives]
    data = EpisodicDataModule(Said(), frames=frames)
    with nullcontext() if said is None else pytest.raises(ValueError, match=said):
        check_classes(method, made, data, "fit")
    check_classes(method, made, object(), "fit")  # data of one's own
    check_classes(method, made, data, "predict")


def test_more_steps_than_frames_are_told_before_any_video_is_read(tmp_path: Path) -> None:
    (tmp_path / "texts.yaml").write_text("a: {step: [x, y, z]}\nb: {step: [y, z]}\n")
    grouping = SubCaptionGrouping("monotone", texts=TextBank(descriptions=str(tmp_path / "texts.yaml")))
    grouping.check_classes(["a", "b"], 3)
    with pytest.raises(ValueError, match="SubCaptionGrouping, class 'a': 3 steps in order cannot share 2 frames"):
        grouping.check_classes(["a", "b"], 2)
