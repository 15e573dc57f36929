"""Recipes of the methods that see images alone: each is built, and says what the release ran with."""

from __future__ import annotations

import math
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

FAMILY: dict[str, dict[str, Any]] = {  # one code base: base rate, start of the warm-up, tasks of a GPU, STEPS_ITER,
    # STEPS, LRS, tasks a GPU adds up; by method and benchmark
    "hyrsm": {
        "hmdb51": (5e-5, 1e-5, 2000, 300, (0, 2, 3, 7), (1, 0.5, 0.1, 0.01), 2, (0.15, 10, 1)),
        "kinetics100": (2.2e-5, 5e-6, 1200, 100, (0, 4, 6, 9), (1, 0.5, 0.1, 0.05), 4, (0.4, 2048, 0.01)),
        "ssv2_full": (1e-4, 2e-5, 40_000, 3000, (0, 6, 9), (1, 0.1, 0.01), 4, (0.6, 10, 1)),
        "ssv2_small": (1e-4, 2e-5, 20_000, 1500, (0, 4, 8), (1, 0.1, 0.01), 4, (0.15, 10, 1)),
        "ucf101": (5e-5, 1e-5, 2500, 700, (0, 3, 5, 7), (1, 0.5, 0.1, 0.01), 4, (0.15, 10, 1)),
    },
    "molo": {
        "hmdb51": (5e-5, 1e-5, 2000, 500, (0, 3, 5, 7), (1, 0.5, 0.1, 0.01), 4, (0.4, 10, 1)),
        "kinetics100": (2e-5, 5e-6, 5000, 350, (0, 4, 6), (1, 0.1, 0.01), 4, (0.1, 2048, 0.02)),
        "ssv2_full": (1e-4, 2e-5, 50_000, 6000, (0, 6, 9), (1, 0.1, 0.01), 4, (0.8, 10, 1)),
        "ssv2_small": (1e-4, 2e-5, 20_000, 1500, (0, 4, 8), (1, 0.1, 0.01), 4, (0.15, 10, 1)),
        "ucf101": (5e-5, 1e-5, 6000, 2000, (0, 3, 6), (1, 0.1, 0.01), 4, (0.6, 10, 1)),
    },
    "hyrsm_plus_plus": {
        "hmdb51": (5e-5, 1e-5, 2000, 300, (0, 2, 3, 7), (1, 0.5, 0.1, 0.01), 4, (0.15, 50, 1, 1, 51, 20, 0.2)),
        "kinetics100": (2.2e-5, 5e-6, 1500, 100, (0, 4, 6, 9), (1, 0.5, 0.1, 0.05), 4, (0.1, 10, 1, 3, 23, 10, 0.1)),
        "ssv2_full": (1e-4, 2e-5, 40_000, 3000, (0, 6, 9), (1, 0.1, 0.01), 4, (0.6, 10, 1, 1, 51, 10, 0.3)),
        "ssv2_small": (1e-4, 2e-5, 20_000, 1500, (0, 4, 8), (1, 0.1, 0.01), 4, (0.2, 10, 1, 3, 23, 10, 0.3)),
        "ucf101": (5e-5, 1e-5, 2500, 700, (0, 3, 5, 7), (1, 0.5, 0.1, 0.01), 4, (0.6, 10, 1, 3, 23, 10, 0.1)),
    },
}
OPTIONS = ("class_weight", "position_scale", "position_weight", "window", "balance", "coefficient", "coherence_weight")

STRM = {
    "frames": 8, "cardinalities": [2], "width": 1152, "dropout": 0.1, "patch_weight": 0.1, "separate_passes": True,
    "published_random_projection": True, "published_test_dropout": True, "published_distances": True,
}  # fmt: skip
RELEASED["strm"] = {
    "ssv2_full": (75_008, 16, 1e-3, 5, 4, STRM),
    "hmdb51": (10_000, 16, 1e-4, 5, 4, STRM),
    "ucf101": (10_000, 16, 1e-4, 5, 4, STRM),
    "kinetics100": (10_000, 16, 1e-4, 5, 5, STRM),
}
TA2N = {"dropout": 0.5, "perturb_in_evaluation": True, "logit_norm": 0, "separate_passes": True}
RELEASED["ta2n"] = dict.fromkeys(
    ("ssv2_full", "ssv2_small", "kinetics100", "ucf101", "hmdb51"), (100_000, 16, 1e-3, 1, 5, TA2N)
)

pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:LightningCLI's args parameter",
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
)


def build(files: list[str], **options: Any) -> LightningCLI:
    """Everything that ``fsar`` would build from these files, on the CPU and with a smaller network."""
    paths = [CONFIGS / f"{file}.yaml" for file in files]
    model = next(SMALLER[name] for name in SMALLER if f"model: {name}\n" in paths[-1].read_text())
    encoder = {"model": model, "weights": "null", "image_size": 128, "resize_to": 144, "resize": "short_side"}
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
    if method != "team":  # TRX and its heirs spread frames with jittered ends, and do not normalise pixels
        samplers = data.train_sampler, data.test_sampler
        assert [(type(sampler).__name__, sampler.random) for sampler in samplers] == [
            ("TrimmedLinspace", True),
            ("TrimmedLinspace", False),
        ]
        encoder = cli.model.method.encoder
        assert (encoder.mean, encoder.std) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("method", RELEASED)
def test_the_plain_file(method: str) -> None:
    cli = build(["trainer", "data/hmdb51", f"method/{method}"])
    optimizer = cli.model.configure_optimizers()
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}


@pytest.mark.parametrize(
    ("method", "benchmark", "shots"),
    [(m, b, k) for m, benchmarks in FAMILY.items() for b in benchmarks for k in ((1,) if m == "molo" else (1, 5))],
)  # MoLo is trained with 1 shot, also to be tested with 5
def test_recipe_of_the_family(method: str, benchmark: str, shots: int) -> None:
    """Values in force, and at every optimiser step the rate that the release's doubled clock gave its last task."""
    base, start, tasks, steps_iter, epochs, factors, added, options = FAMILY[method][benchmark]
    recipe = f"{benchmark}_{shots}shot" if method != "molo" else benchmark
    cli = build([f"data/{benchmark}{'' if shots == 1 else '_published'}", f"method/{method}/{recipe}"])
    data, trainer = cli.datamodule, cli.trainer
    queries = 6 if method == "molo" else 7 if shots == 1 else 3
    assert (data.shots, data.test_shots, data.queries) == (shots, shots, queries)
    assert (trainer.max_steps, trainer.accumulate_grad_batches) == (tasks // added, 4 * added)
    assert (trainer.max_steps * 4 * added) % data.counts["train"] == 0
    given = cli.config.model.method.init_args
    assert [given[name] for name in OPTIONS[: len(options)]] == list(options)
    if method == "molo":  # its reconstruction is not divided by the 4 that the other losses are divided by
        assert given.reconstruction_weight == 4 * (0.1 if benchmark in ("kinetics100", "ssv2_full") else 0.05)
        assert (given.motion_weight, given.contrast_weight) == (0.3, 0.05)
    else:
        assert given.merge == ("after" if shots == 1 else "before")
    assert given.train_classes == {"hmdb51": 31, "ucf101": 70}.get(benchmark, 64)
    assert given.separate_passes
    configured = cli.model.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, torch.optim.Adam)
    assert {group["initial_lr"] for group in optimizer.param_groups} == {base}
    assert sorted({group["weight_decay"] for group in optimizer.param_groups}) == [0, 1e-3]
    for step in range(trainer.max_steps):
        iteration = added * step + added - 1
        epoch = iteration // steps_iter + iteration / steps_iter
        expected = start / base + (1 - start / base) * epoch
        tolerance = (1 - start / base) * added / steps_iter  # the warm-up rises once a step, not at every task
        if epoch >= 1:
            expected, tolerance = factors[sum(epoch >= e for e in epochs) - 1], 1e-9
        assert math.isclose(scheduler.lr_lambdas[0](step), expected, rel_tol=0, abs_tol=tolerance), step


@pytest.mark.parametrize("method", FAMILY)
def test_the_plain_file_of_the_family(method: str) -> None:
    files = {file.stem for file in (CONFIGS / "method" / method).glob("*.yaml")}
    by_shots = {f"{benchmark}_{shots}shot" for benchmark in FAMILY[method] for shots in (1, 5)}
    assert files == (set(FAMILY[method]) if method == "molo" else by_shots)
    optimizer = build(["trainer", "data/ssv2_full", f"method/{method}"]).model.configure_optimizers()
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4}


@pytest.mark.parametrize("name", ["otam", "cross_transformer"])
def test_baselines_of_hyrsms_repository(name: str) -> None:
    channels = {"model.method.alignment.init_args.channels": 512} if name == "cross_transformer" else {}
    cli = build(["trainer", "data/ssv2_small", f"method/{name}"], **channels)
    assert cli.model.method.alignment.merges_shots
    groups = cli.model.configure_optimizers().param_groups
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(1e-4, 1e-3), (1e-4, 0.0)}
