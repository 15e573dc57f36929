"""Recipes of the methods that see images alone: each is built, and says what the release ran with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.cli import LightningCLI

from episodes.datamodule import EpisodicDataModule
from fsar.commands.train.fit import Parser
from fsar.training.learner import Learner

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALLER = {"resnet50": "resnet18", "vit_base_patch16_224": "vit_tiny_patch16_224"}

RELEASED: dict[str, dict[str, tuple[Any, ...]]] = {  # tasks, tasks a step, rate, shots, queries, options of the method
    "team": {
        "hmdb51": (10_000, 16, 1e-3, 1, 5, {"patterns": 60, "separate_passes": True}),
        "hmdb51_vit": (10_000, 4, 1e-4, 1, 5, {"patterns": 50, "separate_passes": True}),
        "ucf101": (10_000, 16, 1e-3, 1, 5, {"patterns": 60, "separate_passes": True}),
        "kinetics100": (10_000, 16, 1e-3, 1, 5, {"patterns": 60, "separate_passes": True}),
    },
}

TRX = {"cardinalities": [2, 3], "width": 1152, "dropout": 0.1, "separate_passes": True}
RELEASED["trx"] = {
    "ssv2_full": (75_008, 16, 1e-3, 5, 5, TRX),
    "ssv2_small": (20_000, 16, 1e-3, 5, 5, TRX),
    **dict.fromkeys(("kinetics100", "ucf101", "hmdb51"), (10000, 16, 0.001, 5, 5, TRX)),
}

pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:LightningCLI's args parameter",
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
)


def build(files: list[str], **options: Any) -> LightningCLI:
    """Everything that ``fsar`` would build from these files, on the CPU and with a smaller network."""
    paths = [CONFIGS / f"{file}.yaml" for file in files]
    model = next(SMALLER[name] for name in SMALLER if f"model: {name}\n" in paths[-1].read_text())
    encoder = {"model": model, "weights": "null", "image_size": 224, "resize_to": 256, "resize": "short_side"}
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = {"trainer.accelerator": "cpu", **{f"trainer.{name}": "false" for name in quiet}, **options}
    options |= {f"model.method.encoder.init_args.{key}": value for key, value in encoder.items()}
    return LightningCLI(
        Learner,
        EpisodicDataModule,
        args=[
            *(arg for path in paths for arg in ("--config", str(path))),
            *(f"--{k}={v}" for k, v in options.items()),
        ],
        run=False,
        parser_class=Parser,
        save_config_callback=None,
        auto_configure_optimizers=False,
    )


@pytest.mark.parametrize("method", RELEASED)
def test_there_is_a_recipe_for_every_benchmark(method: str) -> None:
    assert {file.stem for file in (CONFIGS / "method" / method).glob("*.yaml")} == set(RELEASED[method])


@pytest.mark.parametrize(("method", "recipe"), [(m, r) for m, recipes in RELEASED.items() for r in recipes])
def test_recipe(method: str, recipe: str) -> None:
    tasks, per_step, rate, shots, queries, options = RELEASED[method][recipe]
    benchmark = recipe.removesuffix("_vit").removesuffix("_1shot").removesuffix("_5shot")
    cli = build([f"data/{benchmark}", f"method/{method}/{recipe}"])
    data, trainer = cli.datamodule, cli.trainer
    assert (data.shots, data.queries, data.test_shots) == (shots, queries, shots)
    assert data.train_transform.flip == (not benchmark.startswith("ssv2"))
    assert not data.test_transform.flip
    assert trainer.max_steps == tasks // per_step
    assert trainer.accumulate_grad_batches == per_step
    assert (trainer.max_steps * per_step) % data.counts["train"] == 0  # the last step ends an epoch, which is validated
    given = cli.config.model.method.init_args
    assert {name: given[name] for name in options} == options
    optimizer = cli.model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert {(group["lr"], group["weight_decay"], group["momentum"]) for group in optimizer.param_groups} == {
        (rate, 0, 0)
    }


@pytest.mark.parametrize("method", RELEASED)
def test_the_plain_file(method: str) -> None:
    cli = build(["trainer", "data/hmdb51", f"method/{method}"])
    optimizer = cli.model.configure_optimizers()
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}


@pytest.mark.parametrize("recipe", RELEASED["trx"])
def test_trx_spreads_its_frames_as_released(recipe: str) -> None:
    data = build([f"data/{recipe}", f"method/trx/{recipe}"]).datamodule
    samplers = data.train_sampler, data.test_sampler
    assert [type(sampler).__name__ for sampler in samplers] == ["TrimmedLinspace", "TrimmedLinspace"]
    assert [sampler.random for sampler in samplers] == [True, False]
