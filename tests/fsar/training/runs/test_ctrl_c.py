"""Ctrl-C at any moment of a fit ends it."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fsar.training.checkpoints import ResumePoint

PLACES = 200
ENOUGH = 3000
"""Steps, of which a fit reaches some hundred before it is stopped."""


class Small(LightningModule):
    """One weight; epochs of two batches, so that ends of epochs and validations are hit often."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.layer(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


@pytest.mark.filterwarnings("ignore")  # of Lightning about loaders; of Python about interrupts in destructors
def test_ctrl_c_at_200_places_stops_200_times(tmp_path: Path) -> None:
    silent: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    quiet = {**silent, "enable_checkpointing": False, "accelerator": "cpu", "num_sanity_val_steps": 0}
    data: list[DataLoader[Tensor]] = [DataLoader(torch.ones(2, 1)) for _ in range(2)]  # type: ignore[arg-type]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGPROF)}

    def press(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    stops: list[int] = []  # the timer counts time of the processor, so that places do not depend on who else computes
    try:
        signal.signal(signal.SIGPROF, press)
        for delay in np.random.default_rng(0).uniform(0.001, 0.08, PLACES):
            signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning leaves it ignored after a stop
            point = ResumePoint(tmp_path)
            trainer = Trainer(**quiet, max_epochs=-1, max_steps=ENOUGH, callbacks=[point], default_root_dir=tmp_path)
            signal.setitimer(signal.ITIMER_PROF, delay)
            try:
                trainer.fit(Small(), *data)
            except (SystemExit, KeyboardInterrupt):  # the latter before Lightning looks out for it
                stops.append(trainer.global_step)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert len(stops) == PLACES
    assert max(stops) < ENOUGH
    assert len(set(stops)) > 5  # at many places


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("moment", ["opening", "closing"])
def test_ctrl_c_between_a_loader_and_its_iterator_is_no_other_error(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Lightning leaves Ctrl-C ignored after a stop
    opened, closed = CombinedLoader.__iter__, CombinedLoader.reset

    def interrupt(loader: CombinedLoader) -> CombinedLoader:
        monkeypatch.setattr(CombinedLoader, "__iter__", opened)
        monkeypatch.setattr(CombinedLoader, "reset", closed)
        closed(loader)
        raise KeyboardInterrupt

    monkeypatch.setattr(CombinedLoader, "__iter__" if moment == "opening" else "reset", interrupt)
    silent: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    quiet = {**silent, "enable_checkpointing": False, "accelerator": "cpu", "max_epochs": 1}
    trainer = Trainer(**quiet, callbacks=[ResumePoint(tmp_path)], default_root_dir=tmp_path)
    with pytest.raises(SystemExit):
        trainer.fit(Small(), DataLoader(torch.ones(2, 1)))  # type: ignore[arg-type]
