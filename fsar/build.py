"""Learner, data module and trainer as ``fsar test`` would build them from the same options, without running anything.

Tools that work on a configured method take the options of ``fsar`` beside their own: ``-c`` files, ``--run FOLDER`` for
the configuration and best checkpoint of a run, ``--ckpt_path``, ``--data.*``, ``--model.*`` and ``--trainer.*``.
"""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import fsar.methods  # noqa: F401  (so that short class names are known)
from episodes.datamodule import EpisodicDataModule
from fsar.sharing.run import best_checkpoint, read_checkpoint, was_only_tested
from fsar.terminal import usage
from fsar.terminal.config_files import spell_out
from fsar.terminal.processes import end_with_parent
from fsar.terminal.user_code import find_user_code
from fsar.training.joining import check_joined
from fsar.training.learner import Learner
from fsar.training.pixels import check_framing

METHOD_KEY = "--model.method"
SOURCES = ("episodes.splits.Folder", "episodes.splits.Table", "episodes.benchmarks.Published", "episodes.shapes.Shapes")
"""Of benchmarks: what ``data.benchmark`` may name, beside a class of one's own."""

SECTIONS = ("seed_everything", "trainer", "model", "data")
QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}


class Parser(usage.Parser, LightningArgumentParser):
    """Lightning's parser, with errors in a line or two."""


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
    find_user_code()
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
    check_joined(cli.model.method, cli.datamodule.frames)
    cli.datamodule.follow(cli.model.framing)
    if path := cli.config["ckpt_path"]:
        checkpoint = read_checkpoint(Path(path))
        cli.model.on_load_checkpoint(checkpoint)
        check_framing(cli.model.method.encoder, cli.datamodule, checkpoint)
        cli.model.load_state_dict(checkpoint["state_dict"], strict=False)
    return cli


def expand(args: list[str]) -> list[str]:
    """Spell out the shorthands.

    ``--model.alignment X`` means ``--model.method.alignment X``. For validate and test, ``--run FOLDER`` brings
    in the folder's config.yaml, beneath every option given, and its best checkpoint.

    Raises:
        ValueError: for an option that is given twice.
        FileNotFoundError: for a run without a configuration.
    """
    out = [part for a in args for part in (a.split("=", 1) if a.startswith("--run=") else [a])]
    out = spell_out(out)
    if "--run" in out[:-1] and not out[out.index("--run") + 1].strip():
        raise ValueError("--run is empty: name a folder.")
    configured = {"-c", "--config", METHOD_KEY} & {a.split("=")[0] for a in out}
    if not configured and any(re.match(r"--model\.method\..*help", a) for a in out):
        out[1:1] = [METHOD_KEY, "ClipFSAR"]  # help on a part needs to know of which method
    if "--data.benchmark.help" in out:
        after = out[out.index("--data.benchmark.help") + 1 :]
        if not after or after[0].startswith("-"):  # no class is named
            print(list_sources())
            sys.exit(0)
    if "--run" not in out[:-1] or out[0] == "fit":
        return out
    folder = Path(out[out.index("--run") + 1])
    config = folder / "config.yaml"
    if config.is_file() and not (configured and was_only_tested(folder)):  # files then say all, as for the first test
        out[1:1] = ["--config", str(config)]
        checkpoint = best_checkpoint(folder)
        if checkpoint and "--ckpt_path" not in {a.split("=")[0] for a in out}:
            out += ["--ckpt_path", checkpoint]
    elif not configured:
        raise FileNotFoundError(
            f"{config} does not exist: --run must name the folder of a `fsar fit` or `fsar test`, or a new one "
            "together with -c files."
        )
    return out


def list_sources() -> str:
    """The sources of benchmarks, each with its first line and the names of its arguments."""
    lines = ["data.benchmark is one of these, or a class of your own with load() -> episodes.splits.Benchmark:", ""]
    for path in SOURCES:
        source = pkgutil.resolve_name(path)
        arguments = inspect.signature(source).parameters.values()
        names = [each.name if each.default is each.empty else f"[{each.name}]" for each in arguments]
        first = " ".join((inspect.getdoc(source) or "").split("\n\n")[0].split())
        first = re.sub(r":\w+:|`", "", first)
        lines += [
            path,
            f"    {first}",
            textwrap.fill(" ".join(names), 110, initial_indent=" " * 4, subsequent_indent=" " * 4),
            "",
        ]
    return "\n".join([*lines, f"--data.benchmark.help {SOURCES[0]} says what each argument means."])


def refused(error: Exception) -> ValueError:
    """What Lightning says of the trainer's options; of devices also which there are, and the option that takes them."""
    said = " ".join(str(error).split())
    if not re.search("(?i)gpu|cuda|device", said):
        return ValueError(f"trainer: {said}")
    gpus = torch.cuda.device_count()
    found = f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU that torch can use"
    return ValueError(f"trainer: {said} This machine has {found}; --trainer.accelerator auto takes what there is.")


def build_method(args: Sequence[str], device: str = "auto") -> tuple[Learner, EpisodicDataModule]:
    """The method that options as on the command line describe, with the weights it starts from.

    Raises:
        ValueError: for an option or file that cannot be understood; for a device that is not there.
    """
    args = spell_out(args)
    parser = usage.Parser(exit_on_error=False)
    parser.add_argument("-c", "--config", action="config")
    parser.add_class_arguments(Learner, "model", sub_configs=True)
    parser.add_class_arguments(EpisodicDataModule, "data", sub_configs=True)
    for key in ("seed_everything", "trainer", "run", "ckpt_path", "weights_only"):
        parser.add_argument(f"--{key}", default=None)
    place = device_of(device)
    try:
        parsed = parser.parse_args(args)
    except ArgumentError as error:
        options = {option for action in parser._actions for option in action.option_strings}
        raise ValueError(usage.plain(str(error), args, options)) from None
    with torch.random.fork_rng():
        torch.manual_seed(int(parsed.seed_everything or 0))  # weights that are random on purpose come out as in the fit
        parts = parser.instantiate(parsed)
    check_joined(parts.model.method, parts.data.frames)
    return parts.model.to(place), parts.data


def device_of(name: str) -> torch.device:
    """The device of that name; ``auto`` is the GPU when there is one.

    Raises:
        ValueError: for a name torch does not know, or a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {name!r} cannot be used here ({reason}): take cpu, or auto for what there is."
        ) from None
    return device
