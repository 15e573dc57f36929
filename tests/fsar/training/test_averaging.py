"""The average of the weights: written out step by step, in checkpoints and validation, and after an interruption."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from fsar.commands.train.fit import main
from fsar.training import WeightEMA
from fsar.training.averaging import CURRENT_KEY, trained

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders
TRAINED: list[dict[str, Tensor]] = []
VALIDATED: list[dict[str, Tensor]] = []
STOP_AT: list[int] = []


class Watch(Callback):
    """Notes the weights after every step, and those that are validated; stops where it is told."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        TRAINED.append({name: p.detach().clone() for name, p in trained(pl_module).items()})
        if trainer.global_step in STOP_AT:
            raise RuntimeError("stopped on purpose")

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        VALIDATED.append({name: p.detach().clone() for name, p in trained(pl_module).items()})


def fit(config: Path, folder: Path, *options: str) -> None:
    average = "{class_path: fsar.training.WeightEMA, init_args: {decay: 0.8, start: 1}}"
    watch = f"{{class_path: {__name__}.Watch}}"
    words = ["fit", "--debug", "--run", str(folder), "-c", str(config), "--data.check_videos", "false"]
    main([*words, "--trainer.max_epochs", "2", f"--trainer.callbacks=[{watch}, {average}]", *options])


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.allclose(first[name], second[name], atol=1e-7) for name in second)


def test_the_average_is_validated_and_saved_and_goes_on(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    for seen in (TRAINED, VALIDATED, STOP_AT):
        seen.clear()
    fit(config, tmp_path / "whole")
    assert len(TRAINED) == 8
    average, by_step = TRAINED[0], []
    for step, weights in enumerate(TRAINED):
        average = {name: x.lerp(weights[name], 0.2 if step else 1.0) for name, x in average.items()}
        by_step.append(average)
    assert same(VALIDATED[0], by_step[3])
    assert same(VALIDATED[-1], by_step[7])
    last = torch.load(tmp_path / "whole" / "checkpoints" / "last.ckpt", weights_only=True)
    assert same(last["state_dict"], by_step[7])
    assert same(last[CURRENT_KEY], TRAINED[7])
    assert not same(last["state_dict"], TRAINED[7])
    STOP_AT.append(6)  # before the average has taken in this step
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(config, tmp_path / "stopped")
    STOP_AT.clear()
    fit(config, tmp_path / "stopped", "--ckpt_path", str(tmp_path / "stopped" / "checkpoints" / "interrupted.ckpt"))
    again = torch.load(tmp_path / "stopped" / "checkpoints" / "last.ckpt", weights_only=True)
    assert same(again["state_dict"], by_step[7])
    assert same(again[CURRENT_KEY], TRAINED[7])


def test_a_checkpoint_written_inside_a_validation_holds_both_in_their_places() -> None:
    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([1.0]))

    module: Any = One()
    callback = WeightEMA(0.5)
    callback.on_fit_start(None, module)  # type: ignore[arg-type]
    module.weight.data.fill_(3.0)
    callback._follow(module, 1)
    callback.on_validation_epoch_start(None, module)  # type: ignore[arg-type]
    assert module.weight.item() == 2.0
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    callback.on_save_checkpoint(None, module, checkpoint)  # type: ignore[arg-type]
    assert checkpoint["state_dict"]["weight"].item() == 2.0
    assert checkpoint[CURRENT_KEY]["weight"].item() == 3.0
    callback.on_validation_epoch_end(None, module)  # type: ignore[arg-type]
    assert module.weight.item() == 3.0


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"below 1, found 1\.0"):
        WeightEMA(1.0)
