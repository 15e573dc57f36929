"""Learner, data module and trainer as ``fsar test`` would build them from the same options, without running anything.

Tools that work on a configured method take the options of ``fsar`` beside their own: ``-c`` files, ``--run FOLDER`` for
the configuration and best checkpoint of a run, ``--ckpt_path``, ``--data.*``, ``--model.*`` and ``--trainer.*``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from episodes.datamodule import EpisodicDataModule
from fsar.cli import Parser, expand
from fsar.learner import Learner

QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}


class Configured(LightningCLI):
    """Parses and builds; ``model`` is the learner with the checkpoint's weights, ``datamodule`` and ``trainer``."""

    model: Learner
    datamodule: EpisodicDataModule

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What a run's configuration holds beside the trainer, the model and the data."""
        parser.add_argument("--run", type=str | None, default=None, help="A run: its configuration and checkpoint.")
        parser.add_argument("--ckpt_path", type=str | None, default=None, help="Trained weights.")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Without loggers and checkpoints, and in the precision of the weights."""
        return super().instantiate_trainer(**kwargs, **QUIET, inference_mode=False, precision="32-true")


def configured(args: Sequence[str]) -> Configured:
    """Build what ``args`` describe.

    Raises:
        FileNotFoundError: when ``--run`` names no run.
        ValueError: when the checkpoint does not fit the model.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a user's own classes, named by class_path
    cli = Configured(
        Learner,
        EpisodicDataModule,
        args=expand(["test", *args])[1:],
        run=False,
        parser_class=Parser,
        parser_kwargs={"allow_abbrev": False},
        save_config_callback=None,
        auto_configure_optimizers=False,
    )
    if path := cli.config["ckpt_path"]:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        cli.model.on_load_checkpoint(checkpoint)
        cli.model.load_state_dict(checkpoint["state_dict"], strict=False)
    return cli
