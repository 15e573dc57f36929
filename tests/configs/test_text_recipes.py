"""Recipes of the methods of 2023 to 2026 that read class texts: each is built, and says what the release ran with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fsar.build import Built, build_with_trainer

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TINY = {"model": "fsar-tiny", "pretrained": "shapes"}

GATES = ("vision_ratio", "text_ratio", "slope", "share")
RELEASED: dict[str, dict[str, tuple[Any, ...]]] = {  # tasks, queries a class, rate, weight decay, options of the method
    "clip_cpm2c": {
        "hmdb51": (20_000, 4, 1e-5, 5e-5, {"motion_weight": 1.0}),
        "ucf101": (12_000, 4, 1e-5, 5e-5, {"motion_weight": 0.0}),
        "ssv2_full": (75_008, 4, 1e-5, 5e-5, {"motion_weight": 1.0}),
        "ssv2_small": (20_000, 5, 1e-5, 5e-5, {"motion_weight": 1.0}),
    },
    "clip_mei": {
        **{name: (20_000, 4, 1e-5, 5e-5, {}) for name in ("hmdb51", "ucf101", "kinetics100")},
        "ssv2_full": (75_008, 4, 1e-5, 5e-5, {}),
    },
    "clip_spm": {
        "hmdb51": (20_000, 4, 1e-5, 5e-5, dict(zip(GATES, (0.5, 1.5, 0.0025, 0.2), strict=True))),
        "ucf101": (20_000, 4, 1e-5, 5e-5, dict(zip(GATES, (2.0, 2.0, 0.054, 0.228), strict=True))),
        "kinetics100": (20_000, 4, 1e-5, 5e-5, dict(zip(GATES, (0.5, 1.5, 0.042, 0.86), strict=True))),
        "ssv2_full": (100_000, 4, 1.6e-5, 9.7e-4, dict(zip(GATES, (0.5, 0.75, 0.052, 0.353), strict=True))),
        "ssv2_small": (100_000, 4, 1e-5, 5e-5, dict(zip(GATES, (0.5, 1.5, 0.0025, 0.2), strict=True))),
    },
}

EMP_NET = {  # tasks, tasks of an epoch, rate
    "ssv2_full": (40_000, 8000, 1e-3),
    "ssv2_small": (10_000, 2000, 1e-3),
    **dict.fromkeys(("hmdb51", "ucf101", "kinetics100"), (5000, 1000, 0.0001)),
}

pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
)


def build(*files: str, inside: bool = False, **given: Any) -> Built:
    """Everything that ``fsar`` would build from these files, on the CPU and with a tiny encoder."""
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = {"trainer.accelerator": "cpu", **{f"trainer.{name}": "false" for name in quiet}}
    if not inside:  # of an adapted one
        options |= {f"model.method.encoder.init_args.{key}": value for key, value in TINY.items()}
    options |= {f"model.method.{key}": value for key, value in given.items()}
    named = [arg for file in files for arg in ("--config", str(CONFIGS / f"{file}.yaml"))]
    return build_with_trainer([*named, *(f"--{key}={value}" for key, value in options.items())])


@pytest.mark.parametrize("method", RELEASED)
def test_there_is_a_recipe_for_every_benchmark(method: str) -> None:
    assert {file.stem for file in (CONFIGS / "method" / method).glob("*.yaml")} == set(RELEASED[method])


@pytest.mark.parametrize(("method", "benchmark"), [(m, b) for m, recipes in RELEASED.items() for b in recipes])
def test_recipe(method: str, benchmark: str) -> None:
    tasks, queries, rate, decay, options = RELEASED[method][benchmark]
    built = build(f"data/{benchmark}", f"method/{method}/{benchmark}")
    data, trainer = built.data, built.trainer
    assert (data.shots, data.queries, data.test_shots) == (1, queries, 1)
    assert data.train_transform.flip == (not benchmark.startswith("ssv2"))
    assert trainer.max_steps * trainer.accumulate_grad_batches == tasks
    assert tasks % data.counts["train"] == 0  # the last step ends an epoch, which is validated
    found = built.learner.method
    given = built.config["model"]["method"]["init_args"]
    assert {name: given[name] for name in options} == options
    weight = found.consistency_weight if method == "clip_cpm2c" else found.auxiliary_weight
    assert (weight, found.tasks, trainer.accumulate_grad_batches) == (0.016, 1, 16)  # together 0.001 beside CE / 16
    assert not found.sees_other_queries
    assert not found.reads_query_labels
    optimizer = built.learner.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(rate, decay)}
    if method != "clip_mei":
        assert {group["betas"] for group in optimizer.param_groups} == {(0.5, 0.999)}


@pytest.mark.parametrize("benchmark", EMP_NET)
def test_recipe_of_emp_net(benchmark: str) -> None:
    """The clock of the code base: an epoch counts twice once it is over."""
    assert {file.stem for file in (CONFIGS / "method" / "emp_net").glob("*.yaml")} == set(EMP_NET)
    tasks, epoch, rate = EMP_NET[benchmark]
    built = build(f"data/{benchmark}", f"method/emp_net/{benchmark}", layers=[1, 2, 3])
    data, trainer, learner = built.data, built.trainer, built.learner
    assert (data.shots, data.queries, data.test_shots) == (1, 5, 1)
    assert (trainer.max_steps * 4, trainer.accumulate_grad_batches) == (tasks, 4)
    assert tasks % data.counts["train"] == 0
    assert learner.method.encoder.frozen
    assert not learner.method.published_first_five
    configured = learner.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert {group["initial_lr"] for group in optimizer.param_groups} == {rate}
    assert sorted({group["weight_decay"] for group in optimizer.param_groups}) == [0, 1e-3]
    for step in range(0, trainer.max_steps, 25):
        done = 4 * step
        clock = done // epoch + done / epoch
        factor = 0.2 + 0.8 * clock if clock < 1 else (1, 0.1, 0.01)[(clock >= 4) + (clock >= 6)]
        assert scheduler.lr_lambdas[0](step) == pytest.approx(factor), step


@pytest.mark.parametrize("benchmark", EMP_NET)
def test_recipe_of_task_adapter(benchmark: str) -> None:
    assert {file.stem for file in (CONFIGS / "method" / "task_adapter_pp").glob("*.yaml")} == set(EMP_NET)
    ssv2 = benchmark.startswith("ssv2")
    text = (CONFIGS / "method" / "task_adapter_pp" / f"{benchmark}.yaml").read_text()
    assert f"last: {6 if ssv2 else 2}\n" in text
    assert f"text_blocks: {2 if ssv2 else 8}\n" in text
    tiny = {f"encoder.init_args.encoder.init_args.{key}": value for key, value in TINY.items()}
    own = {"encoder.init_args.last": 2, "text_blocks": 2}
    built = build(f"data/{benchmark}", f"method/task_adapter_pp/{benchmark}", inside=True, **tiny, **own)
    assert (built.data.shots, built.data.queries, built.trainer.max_steps) == (1, 1, 10_000)
    assert (built.learner.method.norm is not None) == (benchmark == "ssv2_full")
    assert not built.learner.method.sees_other_queries
    optimizer = built.learner.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert {(group["lr"], group["momentum"]) for group in optimizer.param_groups} == {(1e-3, 0)}


@pytest.mark.parametrize("method", RELEASED)
def test_the_plain_file(method: str) -> None:
    optimizer = build("trainer", "data/ssv2_full", f"method/{method}").learner.configure_optimizers()
    assert {group["lr"] for group in optimizer.param_groups} == {1e-5}
