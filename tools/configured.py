"""Learner, data module and trainer as ``fsar test`` would build them from the same options, without running anything.

Tools that work on a configured method take the options of ``fsar`` beside their own: ``-c`` files, ``--run FOLDER`` for
the configuration and best checkpoint of a run, ``--ckpt_path``, ``--data.*``, ``--model.*`` and ``--trainer.*``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from episodes.datamodule import EpisodicDataModule
from fsar.cli import Parser, expand, refused
from fsar.learner import Learner
from fsar.pixels import check_framing
from fsar.sharing import read_checkpoint
from fsar.terminal.processes import end_with_parent

SECTIONS = ("seed_everything", "trainer", "model", "data")
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
        """Without loggers and checkpoints; in the precision of the weights; every process sees to its own share."""
        end_with_parent()
        ours = {**QUIET, "inference_mode": False, "precision": "32-true", "use_distributed_sampler": False}
        try:
            return super().instantiate_trainer(**kwargs, **ours)
        except (MisconfigurationException, TypeError) as error:
            raise refused(error) from error


def _sections(args: list[str]) -> list[str]:
    """The configuration files replaced by what they say of trainer, model and data: a run's file says more."""
    out = list(args)
    for i in range(1, len(out)):
        if out[i - 1] in ("-c", "--config"):
            content = yaml.safe_load(Path(out[i]).read_text()) or {}
            out[i] = json.dumps({key: value for key, value in content.items() if key in SECTIONS})
    return out


def configured(args: Sequence[str]) -> Configured:
    """Build what ``args`` describe.

    Raises:
        FileNotFoundError: when ``--run`` names no run.
        ValueError: when the checkpoint does not fit the model.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a user's own classes, named by class_path
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")  # sys.argv holds the tool's own as well
    cli = Configured(
        Learner,
        EpisodicDataModule,
        args=_sections(expand(["test", *args])[1:]),
        run=False,
        parser_class=Parser,
        parser_kwargs={"prog": Path(sys.argv[0]).stem, "allow_abbrev": False},
        save_config_callback=None,
        auto_configure_optimizers=False,
    )
    cli.datamodule.follow(cli.model.framing)
    if path := cli.config["ckpt_path"]:
        checkpoint = read_checkpoint(Path(path))
        cli.model.on_load_checkpoint(checkpoint)
        check_framing(cli.model.method.encoder, cli.datamodule, checkpoint)
        cli.model.load_state_dict(checkpoint["state_dict"], strict=False)
    return cli
