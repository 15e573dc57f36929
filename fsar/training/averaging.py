"""An average of the weights along a training, which is what is validated, saved and tested.

With θ the trained weights after an optimiser step and β the decay, ``θ̄ = β θ̄ + (1 - β) θ``; before ``start`` steps θ̄ is
θ (Polyak and Juditsky 1992; as in torch.optim.swa_utils, whose arithmetic it is). Running statistics of BatchNorm are
not averaged: they stay those of θ.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

CURRENT_KEY, STEP_KEY = "weights_before_averaging", "averaged_until_step"


class WeightEMA(Callback):
    """Exponential moving average of the trained weights.

    Validation, and with it the choice of the best checkpoint, is that of the average; ``state_dict`` of every
    checkpoint holds it, so that tests, reports and predictions use it without being told. The weights that training
    goes on from stand beside it, for a fit that is resumed with this callback.

    Args:
        decay: β.
        start: optimiser steps before the average begins.

    Raises:
        ValueError: for a decay outside of 0..1.

    >>> WeightEMA(decay=0.99).decay
    0.99
    """

    def __init__(self, decay: float = 0.999, start: int = 0) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"WeightEMA: decay must lie in 0..1, below 1, found {decay}.")
        self.decay, self.start = decay, start
        self.average: dict[str, Tensor] = {}
        self.step, self.swapped = 0, False
        self._update = get_ema_multi_avg_fn(decay)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.average:
            self.average = {name: p.detach().clone() for name, p in trained(pl_module).items()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._follow(pl_module, trainer.global_step)

    def _follow(self, module: LightningModule, step: int) -> None:
        """Take in the weights after an optimiser step; none when gradients were accumulated only."""
        if step == self.step:
            return
        self.step, weights = step, [p.detach() for p in trained(module).values()]
        if step <= self.start:
            torch._foreach_copy_(list(self.average.values()), weights)
        else:
            self._update(list(self.average.values()), weights, None)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is tested next without a checkpoint is the average."""
        self._swap(pl_module)
        self.average = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self.average:
            return
        here = {name: checkpoint["state_dict"][name] for name in self.average}
        kept = {name: x.clone() for name, x in self.average.items()}
        current, average = (kept, here) if self.swapped else (here, kept)  # a validation may be what is broken off
        checkpoint[CURRENT_KEY], checkpoint[STEP_KEY] = current, self.step
        checkpoint["state_dict"] |= average

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if CURRENT_KEY not in checkpoint or trainer.state.fn != "fit":
            return
        current, device = checkpoint[CURRENT_KEY], pl_module.device
        self.average = {name: checkpoint["state_dict"][name].to(device, copy=True) for name in current}
        pl_module.load_state_dict(current, strict=False)
        self.step = checkpoint[STEP_KEY]
        self._follow(pl_module, checkpoint["global_step"])  # stopped between the step and its average

    @torch.no_grad()
    def _swap(self, module: LightningModule) -> None:
        if self.average:
            self.swapped = not self.swapped
            for name, weight in trained(module).items():
                kept = weight.detach().clone()
                weight.copy_(self.average[name])
                self.average[name].copy_(kept)


def trained(module: LightningModule) -> dict[str, Tensor]:
    """The weights that training changes, by their names."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
