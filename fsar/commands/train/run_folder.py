"""The run folder of fit, validate and test: made, filled with the configuration and logs, and taken back when empty."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from episodes.files import write_atomically

NOTHING = {".lock", "hparams.yaml"}
"""Files of a run folder that hold nothing of a run."""


class SaveConfig(SaveConfigCallback):
    """Writes the configuration of a fit, but for its loggers, into its run folder; a fit that learns nothing leaves it
    as it was."""

    path: Path | None = None
    before: str | None = None

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.path = Path(trainer.default_root_dir, "config.yaml")
            self.before = self.path.read_text() if self.path.exists() else None
            config = self.config.clone()
            config.trainer.logger = None  # where it is tested, the loggers' packages and accounts need not be
            with write_atomically(self.path) as part:
                part.write_text(self.parser.dump(config, skip_none=False), encoding="utf-8")

    def on_train_batch_end(self, *_: Any) -> None:
        self.path = None  # from here on the run is this one

    def on_exception(self, *_: Any) -> None:
        """Take it back: the next attempt shall not find a run where there is none, nor a run another configuration."""
        if self.path is not None and self.before is None:
            self.path.unlink()
        elif self.path is not None and self.before is not None:
            with write_atomically(self.path) as part:
                part.write_text(self.before)


def claim(folder: Path) -> list[Path]:
    """Make the run folder; gives what was made for it, from the outside to the inside.

    Raises:
        PermissionError: when it cannot be made, or written into.
    """
    new = [path for path in (*reversed(folder.parents), folder) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise PermissionError(f"--run {folder}: this folder cannot be made ({reason}); name another.") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"--run {folder}: nothing can be written into it; name another folder.")
    return new


def remove_empty(made: list[Path], trainer: Trainer | None = None) -> None:
    """Take back folders that this process made and filled with nothing but what loggers and locks leave at once; and,
    where a run stays, the table of a fit that had nothing to write into it."""
    for logger in trainer.loggers if trainer is not None and trainer.is_global_zero else []:
        if isinstance(logger, CSVLogger):
            _remove_table(Path(logger.log_dir))
    if not made or not made[-1].is_dir() or any(made[-1].glob("config.yaml")):
        return
    files = [path for path in made[-1].rglob("*") if path.is_file()]
    if all(path.name in NOTHING or path.name.startswith("events.out.tfevents") for path in files):
        for path in files:
            path.unlink()
        for path in [*sorted(made[-1].rglob("*"), reverse=True), *reversed(made)]:
            with suppress(OSError):  # somebody else put something there
                path.rmdir()


def _remove_table(folder: Path) -> None:
    if {path.name for path in folder.glob("*")} <= NOTHING:
        with suppress(OSError):  # something else lies beside it
            (folder / "hparams.yaml").unlink(missing_ok=True)
            folder.rmdir()
            folder.parent.rmdir()


def loggers(configured: Any, folder: str) -> list[Logger] | bool:
    """The loggers of a fit: those of ``trainer.logger``, by default TensorBoard; and always CSV, for the report.

    Args:
        configured: the value of ``trainer.logger``; false for none at all.
        folder: the run folder.
    """
    if configured is False:
        return False
    if configured is None or configured is True:
        configured = TensorBoardLogger(folder, name="tensorboard")
    found = list(configured) if isinstance(configured, Sequence) else [configured]
    if not any(isinstance(logger, CSVLogger) for logger in found):
        found.insert(0, CSVLogger(folder, name="csv"))
    return found
