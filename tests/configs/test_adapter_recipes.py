"""Recipes of the methods with adapters and side networks: each is built, and says what the release really ran with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fsar.adapters.st_adapter import STPart
from fsar.alignment import AlphaDistance
from fsar.build import Built, build_with_trainer
from fsar.methods import D2ST, TSFSAR
from fsar.training.learner import Learner
from fsar.training.schedule import WarmupSteps

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BENCHMARKS = ("ssv2_full", "ssv2_small", "kinetics100", "ucf101", "hmdb51")
INNER = {
    f"model.method.encoder.init_args.encoder.init_args.{k}": v
    for k, v in (("model", "fsar-tiny"), ("pretrained", "shapes"))
}
OUTER = {f"model.method.encoder.init_args.{k}": v for k, v in (("model", "fsar-tiny"), ("pretrained", "shapes"))}

D2ST_RELEASED = {  # base rate, tasks of both GPUs, STEPS_ITER, STEPS, LRS, weight of the classifier, classes
    "ssv2_full": (1e-3, 120_000, 6000, (0, 4, 6, 8), (1, 0.5, 0.1, 0.05), 2.0, 64),
    "ssv2_small": (1e-3, 40_000, 2000, (0, 4, 6, 8), (1, 0.1, 0.05, 0.01), 0.5, 64),
    "hmdb51": (1e-3, 3000, 150, (0, 5, 7, 9), (1, 0.5, 0.1, 0.05), 2.5, 31),
    "ucf101": (5e-4, 2400, 120, (0, 5, 7, 9), (1, 0.1, 0.05, 0.01), 0.0, 70),
    "kinetics100": (5e-4, 3000, 150, (0, 4, 6, 8), (1, 0.1, 0.05, 0.01), 0.0, 64),
}
TS_RELEASED: dict[
    str, tuple[Any, ...]
] = {  # rate, of the generator, of the attention; a, b, κ; T, ρ, γ, dropout; fusion
    "ssv2_full_1shot": (2e-4, 2e-4, 2e-4, 2.0, 4.0, 0.01, 4, 1.6, 100, 0.0, (0.5, 0.1, 0.4)),
    "ssv2_full_5shot": (2e-4, 2e-4, 2e-4, 2.0, 0.1, 0.01, 4, 1.6, 50, 0.0, (0.8, 0.05, 0.15)),
    "ssv2_small_1shot": (2.5e-4, 2.5e-4, 2.5e-4, 2.0, 0.1, 0.1, 4, 1.6, 50, 0.7, (0.4, 0.2, 0.4)),
    "ssv2_small_5shot": (3e-4, 3e-4, 3e-4, 2.0, 0.01, 0.01, 4, 1.6, 50, 0.7, (0.8, 0.05, 0.15)),
    "hmdb51_1shot": (2e-4, 1e-4, 1e-4, 1.0, 1.0, 6.0, 10, 0.4, 50, 0.7, (0.15, 0.8, 0.05)),
    "hmdb51_5shot": (2e-4, 1e-4, 1e-4, 1.0, 1.0, 6.0, 10, 0.4, 50, 0.6, (0.4, 0.55, 0.05)),
    "kinetics100_1shot": (2e-4, 1e-4, 1e-4, 0.5, 1.0, 6.0, 10, 0.4, 50, 0.7, (0.15, 0.8, 0.05)),
    "kinetics100_5shot": (1e-4, 5e-5, 5e-5, 0.5, 1.0, 6.0, 10, 0.4, 50, 0.7, (0.15, 0.8, 0.05)),
    "ucf101_1shot": (1e-4, 1e-4, 5e-5, 0.5, 1.0, 6.0, 10, 0.4, 50, 0.7, (0.15, 0.8, 0.05)),
    "ucf101_5shot": (1e-4, 5e-5, 5e-5, 0.5, 1.0, 6.0, 10, 0.4, 50, 0.7, (0.15, 0.8, 0.05)),
}

pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
)


def build(recipe: str, data: str, **options: Any) -> Built:
    """Everything that ``fsar`` would build from a data file and a recipe, on the CPU and with a tiny encoder."""
    files = [CONFIGS / "data" / f"{data}.yaml", CONFIGS / "method" / f"{recipe}.yaml"]
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = {"trainer.accelerator": "cpu", **{f"trainer.{name}": "false" for name in quiet}, **options}
    named = [arg for file in files for arg in ("--config", str(file))]
    return build_with_trainer([*named, *(f"--{key}={value}" for key, value in options.items())])


def rates(model: Learner) -> dict[str, tuple[float, float]]:
    """Learning rate at full height and weight decay of every trained parameter."""
    groups = model.configure_optimizers()["optimizer"].param_groups
    found = {id(p): (group["initial_lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    return {name: found[id(p)] for name, p in model.method.named_parameters() if p.requires_grad}


def test_there_is_a_recipe_for_every_benchmark() -> None:
    d2st = {file.stem for file in (CONFIGS / "method" / "d2st").glob("*.yaml")}
    assert d2st == {*BENCHMARKS, "resnet50"}
    assert {file.stem for file in (CONFIGS / "method" / "ts_fsar").glob("*.yaml")} == set(TS_RELEASED)


@pytest.mark.parametrize("kind", ["", "_published"])
@pytest.mark.parametrize("name", BENCHMARKS)
def test_d2st(name: str, kind: str) -> None:
    built = build(f"d2st/{name}", f"{name}{kind}", **INNER)
    base, tasks, steps_iter, epochs, factors, weight, classes = D2ST_RELEASED[name]
    data, trainer, method = built.data, built.trainer, built.learner.method
    assert isinstance(method, D2ST)
    assert (data.shots, data.queries, data.test_shots) == (1, 1, 1)
    assert trainer.max_steps == tasks // 2 // 8
    assert trainer.accumulate_grad_batches == 16
    assert (trainer.max_steps * 16) % data.counts["train"] == 0  # the last step ends an epoch, which is validated
    assert method.class_weight == weight
    assert method.classifier is None if weight == 0 else method.classifier.out_features == classes
    decayed = rates(built.learner)
    assert {rate for rate, _ in decayed.values()} == {base}
    assert {n.rsplit(".", 2)[1] for n, (_, decay) in decayed.items() if decay == 0} == {"offset_norm"}
    assert {decay for n, (_, decay) in decayed.items() if "offset_norm" not in n} == {1e-3}
    assert any("ln_post" in n for n in decayed)
    scheduler = built.learner.configure_optimizers()["lr_scheduler"]["scheduler"]
    for step in range(trainer.max_steps):
        clock = (8 * step + 7) / steps_iter  # of the last of the eight tasks, whose rate the step takes
        if clock < 1:
            expected, tolerance = 0.2 + 0.8 * clock, 0.8 * 8 / steps_iter
        else:
            expected, tolerance = factors[sum(clock >= epoch for epoch in epochs) - 1], 1e-9
        assert math.isclose(scheduler.lr_lambdas[0](step), expected, rel_tol=0, abs_tol=tolerance), step


@pytest.mark.parametrize("kind", ["", "_published"])
@pytest.mark.parametrize("recipe", TS_RELEASED)
def test_ts_fsar(recipe: str, kind: str) -> None:
    name, shots = recipe.rsplit("_", 1)[0], int(recipe[-5])
    side = {"width": 32, "heads": 2, "temporal": "[1]"}
    smaller = {f"model.method.side.init_args.{key}": value for key, value in side.items()}
    built = build(f"ts_fsar/{recipe}", f"{name}{kind}", **OUTER, **smaller)
    rate, generator, attention, a, b, kappa, temperature, rho, gamma, dropout, fusion = TS_RELEASED[recipe]
    data, trainer, method = built.data, built.trainer, built.learner.method
    assert isinstance(method, TSFSAR)
    assert isinstance(method.alignment, AlphaDistance)
    assert (data.shots, data.queries, data.test_shots) == (shots, 5, shots)
    assert data.train_transform.flip == (not name.startswith("ssv2"))
    assert not data.test_transform.flip
    assert trainer.max_steps == (50_000 if name == "ssv2_full" else 10_000)
    assert trainer.max_steps % data.counts["train"] == 0
    assert trainer.accumulate_grad_batches == 1
    found = (method.class_weight, method.side_weight, method.guidance_weight, method.guidance_temperature)
    assert found == (a, b, kappa, temperature)
    assert (method.text_residual, method.text_scale, method.class_dropout.p) == (rho, gamma, dropout)
    assert tuple(method.fusion) == fusion
    assert method.classifier.out_features == {"hmdb51": 31, "ucf101": 70}.get(name, 64)
    for parameter, (found_rate, decay) in rates(built.learner).items():
        part = parameter.split(".")[0]
        own = {"alignment": generator, "clip_norm": attention, "clip_attention": attention}.get(part, rate)
        assert found_rate == pytest.approx(own), parameter
        assert decay == 0.1


def test_factors_that_are_no_powers() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupSteps(optimizer, warmup=2, start=0.5, milestones=[3, 5], factors=[0.5, 0.1])
    factor = schedule.lr_lambdas[0]
    assert [factor(step) for step in range(7)] == [0.5, 0.75, 1.0, 0.5, 0.5, 0.1, 0.1]
    with pytest.raises(ValueError, match="1 factors for 2 milestones"):
        WarmupSteps(optimizer, milestones=[3, 5], factors=[0.5])


def test_d2st_in_a_resnet() -> None:
    encoder = "model.method.encoder.init_args.encoder.init_args"
    options = {f"{encoder}.weights": "null", f"{encoder}.model": "resnet18"}
    model = build("d2st/resnet50", "ssv2_small", **options).learner
    decayed = rates(model)
    assert {rate for rate, _ in decayed.values()} == {2e-3}
    assert all((decay == 0) == ("norm" in name) for name, (_, decay) in decayed.items())


@pytest.mark.parametrize(("recipe", "second", "scale"), [("aim", True, 1.0), ("aim/kinetics", False, 0.5)])
def test_aim(recipe: str, second: bool, scale: float) -> None:
    model = build(recipe, "ssv2_small", **INNER).learner
    parts = [block.adapter for block in model.method.encoder.blocks]
    assert all((part.temporal_in is not None) == second for part in parts)
    assert {part.scale for part in parts} == {scale}
    assert parts[0].drop == 0
    assert parts[-1].drop == pytest.approx(0.2)
    decays = {name: decay for name, (_, decay) in rates(model).items()}
    assert {name.split(".")[2] for name, decay in decays.items() if decay == 0} == {"ln_post"}


@pytest.mark.parametrize(("recipe", "before_attention"), [("st_adapter", True), ("st_adapter/kinetics", False)])
def test_st_adapter(recipe: str, before_attention: bool) -> None:
    model = build(recipe, "ssv2_small", **INNER).learner
    for block in model.method.encoder.blocks:
        part = block.adapter
        assert isinstance(part, STPart)
        assert part.mlp is not None
        assert (part.attention is not None) == before_attention
        assert part.mlp.down.out_features == 384
    assert all((decay == 0) == name.endswith("bias") for name, (_, decay) in rates(model).items())
