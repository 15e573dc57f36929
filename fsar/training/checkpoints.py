"""Checkpoints from which training goes on as if it had never stopped, wherever it was stopped.

A checkpoint holds the weights, the optimiser, and where training stands: counters, and the place in the list of
episodes. Lightning writes down where it stands at the moment of writing. In the middle of a step that is after the
episode in hand, from which the weights have learned nothing yet: it would be passed over, the epoch be one episode
short and end without its validation. So :class:`ResumePoint` notes the place whenever place and weights agree, and
every checkpoint gets the place that was noted last.
"""

from __future__ import annotations

import signal
import threading
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import Optimizer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
UNFINISHED = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
"""Batches of a validation that Lightning, finding it in a checkpoint, runs again from its start."""


class ResumePoint(Callback):
    """Makes every checkpoint of a fit say where its weights stand, and writes ``interrupted.ckpt`` when it is stopped.

    Weights stand after the last whole optimiser step, and before a validation that was not finished. (Running
    statistics of batch normalisation may be ahead by the clips of a step that was broken off.) It must be the first
    callback, so that whatever another one raises finds weights and place in agreement. Signals, of Ctrl-C or SLURM,
    that come while the optimiser changes the weights wait until it is done. A Ctrl-C is also remembered, and raised
    again at the next batch: where it comes in a destructor, Python prints it and goes on.

    Args:
        folder: of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place: dict[str, Any] = {}
        self.steps, self.batch = 0, -1  # of that place
        self.begun = False  # in this process
        self.changing = False
        self.handlers: dict[int, Any] = {}
        self.waiting: list[int] = []
        self.pressed = False  # Ctrl-C, since the start of the fit

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._raise_pressed()

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._raise_pressed()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._raise_pressed()

    def _remember_ctrl_c(self) -> None:
        self.pressed, act = False, signal.getsignal(signal.SIGINT)

        def remember(number: int, frame: FrameType | None) -> None:
            self.pressed = True
            act(number, frame)  # type: ignore[operator, misc]

        if callable(act) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, remember)  # until Lightning, at the end, puts back what it found

    def _raise_pressed(self) -> None:
        if self.pressed:
            raise KeyboardInterrupt

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.place, self.steps = deepcopy(checkpoint["loops"]["fit_loop"]), checkpoint["global_step"]
        self.batch = self.place["epoch_loop.batch_progress"]["total"]["ready"] - 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put right what Lightning 2.6 makes of a place it goes on from."""
        loop = trainer.fit_loop
        loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()  # else that validation is never finished
        if loop.restarted_on_epoch_end:  # with max_steps, an epoch that was over would be counted twice
            loop.epoch_progress.increment_completed()
            for part in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
                part.on_iteration_done()
        self._remember_ctrl_c()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.changing = True
        if threading.current_thread() is threading.main_thread():
            handled = [number for number in SIGNALS if callable(signal.getsignal(number))]
            self.handlers = {number: signal.signal(number, self._wait) for number in handled}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.steps:  # gradients are being accumulated
            return
        self._note(trainer)
        loop = trainer.fit_loop
        assert loop._data_fetcher is not None
        validates = bool(getattr(trainer.datamodule, "has_validation", True))  # type: ignore[attr-defined]
        if validates and loop.epoch_loop._should_check_val_fx(loop._data_fetcher):  # validation comes next
            batches, validated = (self.place[f"epoch_loop.{name}batch_progress"] for name in ("", "val_loop."))
            for span in ("total", "current"):
                batches[span]["completed"] += 1
                validated[span] |= UNFINISHED
        elif trainer.is_last_batch:
            return  # the end of the epoch comes next
        self._release()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            self._note(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note(trainer)
        self._release()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.place:
            checkpoint["loops"]["fit_loop"] = deepcopy(self.place)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what was learned before an interruption or an error."""
        self.waiting.clear()
        self._release()
        forget_unopened(trainer)
        if not self.begun:
            return
        path = self.folder / "interrupted.ckpt"
        if self.changing:
            path = path.with_name("last.ckpt")
            rank_zero_info("\nstopped while the optimiser was changing the weights: they are not kept.")
        else:
            # not Trainer.save_checkpoint, which waits for all processes: this one may be the only one that was stopped
            checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            rank_zero_info(f"\nstopped after step {trainer.global_step}.")
            try:
                trainer.strategy.save_checkpoint(checkpoint, path)
            except OSError as error:  # as on a full disk, which may be why training stops
                rank_zero_info(f"what was learned since the last checkpoint cannot be kept: {error.strerror}.")
                path = path.with_name("last.ckpt")
        if path.exists():
            rank_zero_info(f"to go on as if nothing had happened: the same command with --ckpt_path {path}")

    def _note(self, trainer: Trainer) -> None:
        self.place = deepcopy(trainer.fit_loop.state_dict())
        self.steps, self.batch = trainer.global_step, trainer.fit_loop.total_batch_idx
        self.begun, self.changing = True, False

    def _wait(self, number: int, frame: FrameType | None) -> None:
        self.waiting.append(number)

    def _release(self) -> None:
        """Hand the signals back, and let those act that have come meanwhile."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}
        while self.waiting:
            signal.raise_signal(self.waiting.pop(0))


def forget_unopened(trainer: Trainer) -> None:
    """Let a fit that is stopped while it opens or closes its loaders end as one stopped elsewhere.

    Lightning, taking down what there is, asks every fetcher for its length. One whose loader has no iterator (a Ctrl-C
    came between the two steps that make, or drop, both) answers with a RuntimeError, which would then be raised in the
    place of the interruption.
    """
    for loop in (trainer.fit_loop, trainer.fit_loop.epoch_loop.val_loop):
        fetcher = loop._data_fetcher
        if fetcher is not None and fetcher._combined_loader is not None and fetcher._combined_loader._iterator is None:
            loop._data_fetcher = None


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt``: that of the last epoch, also where an epoch ends without a validation.

    Args:
        folder: of the checkpoints; when training goes on it may have been moved.
        name: of the file.
        monitor: name of a metric; then the checkpoint with its highest value is kept.
    """

    def __init__(self, folder: Path, name: str = "last", monitor: str | None = None) -> None:
        super().__init__(folder, name, monitor, mode="max", enable_version_counter=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.monitor is None:  # Lightning saves after validations alone where those come at other times
            self._save_now(trainer)

    def _save_now(self, trainer: Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return path and str(Path(self.dirpath or "", Path(path).name))

        paths = {name: here(path) for name, path in state_dict.items() if name.endswith("_model_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": kept, "dirpath": self.dirpath})


class BestCheckpoint(LastCheckpoint):
    """Keeps ``best.ckpt``: the best on validation classes; without any, the last.

    Args:
        folder: of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "best", "val_accuracy")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing can be monitored when the benchmark has no validation classes, or nothing is validated."""
        if trainer.datamodule.has_validation and trainer.limit_val_batches:  # type: ignore[attr-defined]
            return
        why = "no validation classes" if trainer.limit_val_batches else "trainer.limit_val_batches is 0"
        rank_zero_info(f"{why}: the last checkpoint is kept, none is chosen by its accuracy.")
        self.monitor = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if self.monitor and not self.best_model_path:
            rank_zero_info("nothing was validated: best.ckpt holds what was trained last.")
            self.monitor = None
            self._save_now(trainer)
