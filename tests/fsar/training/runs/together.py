"""A program that Lightning's launcher starts once for every device, as it does ``fsar``: fit, validate, test and
extract, then a fit in which one process is killed. Every process writes down which collectives it took part in.

    python together.py CONFIG DEVICES
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback

COLLECTIVES = ("all_reduce", "all_gather", "all_gather_object", "barrier", "broadcast", "broadcast_object_list")
seen: list[str] = []


def record(name: str) -> Callable[..., Any]:
    original = getattr(dist, name)

    def recorded(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        return original(*args, **kwargs)

    return recorded


class Uneven(Callback):
    """One process is slower than the others, a callback logs a sum over processes that the bar may ask for, and one
    that comes after the bar waits for all."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a mixin
        callbacks.append(LambdaCallback(on_train_epoch_end=lambda *_: trainer.strategy.barrier()))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_rank == 1:
            time.sleep(0.05)
        pl_module.log("steps", 1.0, on_step=False, on_epoch=True, sync_dist=True, prog_bar=True, reduce_fx="sum")


class Killed(Callback):
    """Kills the process of the last device in the second training step; of two, the first in validation, while the
    other is busy with its own share."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size == 3 and trainer.global_rank == 2 and trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size == 2:
            if trainer.global_rank == 1:
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)


def commands(config: str, devices: str) -> dict[str, list[str]]:
    several = ["--trainer.devices", devices, "--trainer.strategy", "ddp", "--trainer.enable_progress_bar", "true"]
    shown = ["fsar.training.Pictures", "__main__.Uneven"]
    pictures = json.dumps([{"class_path": name} for name in shown])
    killed = json.dumps([{"class_path": name} for name in ("fsar.training.Pictures", "__main__.Killed")])
    often = ["--data.train_episodes", "6", "--trainer.val_check_interval", "1", "--trainer.log_every_n_steps", "1"]
    given = ["-c", config, *several]
    return {
        "fit": ["fit", "--debug", "--run", "run", *given, *often, "--trainer.callbacks", pictures],
        "validate": ["validate", "--debug", "--run", "run", "--trainer.callbacks", "null"],
        "test": ["test", "--debug", "--run", "run", "--trainer.callbacks", "null"],
        "extract": ["--store", "store", "-c", config, *several],
        "killed": ["fit", "--debug", "--run", "killed", *given, *often, "--trainer.callbacks", killed],
    }


def main() -> None:
    warnings.filterwarnings("ignore")
    for name in COLLECTIVES:
        setattr(dist, name, record(name))
    from fsar.commands.data.extract import main as extract
    from fsar.commands.train.fit import main as run

    for stage, args in commands(*sys.argv[1:]).items():
        (extract if stage == "extract" else run)(args)
        Path(f"{stage}{os.environ['LOCAL_RANK']}.json").write_text(json.dumps(seen))
        seen.clear()


if __name__ == "__main__":
    main()
