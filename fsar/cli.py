"""The command line: a stock LightningCLI, a run folder, and errors that say what to do."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn

import fsar.methods  # noqa: F401  (so that short class names are known)
from episodes.benchmarks import seen_classes
from episodes.datamodule import EpisodicDataModule
from fsar.alignment import Alignment
from fsar.checkpoints import BestCheckpoint, ResumePoint
from fsar.clip import FrameEncoder
from fsar.failure import one_message
from fsar.learner import Learner
from fsar.method import Method
from fsar.metrics import Accuracy
from fsar.predictor import long_names
from fsar.results import time_shares, write_results

RUN_VARIABLE = "FSAR_RUN"  # processes that Lightning starts for other devices share the folder of the first
METHOD_KEY = "--model.method"
NOISE = (
    "LightningCLI's args parameter is intended",  # we are the entry point
    r"Found \d+ module\(s\) in eval mode",  # frozen towers stay in evaluation mode on purpose
    r".*isinstance\(treespec, LeafSpec\)",  # Lightning 2.6 with torch 2.15
    "Be aware that when using `ckpt_path`, callbacks used to create",  # nothing is monitored in evaluation
    "Checkpoint directory .* exists and is not empty",  # a run that is resumed
    "The number of training batches .* is smaller than the logging interval",
    "The '.*dataloader' does not have many workers",  # the data module chooses their number
)
RUNS = "runs/%Y-%m-%d_%H-%M-%S"


def run(args: list[str]) -> None:
    """Run the command line; any failure is one message and exit status 1, unless ``--debug``."""
    debug = "--debug" in args
    args = [a for a in args if a != "--debug"]
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a user's own classes, named by class_path
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of calls that Lightning makes
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "Tip:" not in record.msg)
    with one_message(debug):
        CLI(
            Learner,
            EpisodicDataModule,
            args=expand(args),
            parser_class=Parser,
            parser_kwargs={"allow_abbrev": False},
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={"num_sanity_val_steps": 0, "inference_mode": False},
        )


def expand(args: list[str]) -> list[str]:
    """Spell out the shorthands.

    ``--model.alignment X`` means ``--model.method.alignment X``. For validate and test, ``--run FOLDER`` brings
    in the folder's config.yaml, beneath every option given, and its best checkpoint.
    """
    out = [part for a in args for part in (a.split("=", 1) if a.startswith("--run=") else [a])]
    out = long_names(out)
    configured = {"-c", "--config", METHOD_KEY} & {a.split("=")[0] for a in out}
    if not configured and any(re.match(r"--model\.method\..*help", a) for a in out):
        out[1:1] = [METHOD_KEY, "ClipFSAR"]  # help on a part needs to know of which method
    if "--run" not in out[:-1] or out[0] == "fit":
        return out
    folder = Path(out[out.index("--run") + 1])
    config, checkpoint = folder / "config.yaml", folder / "checkpoints" / "best.ckpt"
    if config.is_file():
        out[1:1] = ["--config", str(config)]
        if checkpoint.is_file() and "--ckpt_path" not in {a.split("=")[0] for a in out}:
            out += ["--ckpt_path", str(checkpoint)]
    elif not configured:
        raise FileNotFoundError(
            f"{config} does not exist: --run must name the folder of a `fsar fit`, or a new one together with -c files."
        )
    return out


class Parser(LightningArgumentParser):
    """Says what is wrong in one line, and which key was probably meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print ``message`` with a suggestion and leave with status 2."""
        text = str(message).strip()
        known = {option for action in self._actions for option in action.option_strings}
        unknown = re.findall(r"(--[\w.]+)", text.split("unrecognized arguments:")[-1]) if "unrecognized" in text else []
        unknown += re.findall(r"[Kk]ey \"?'?([\w.]+)'?\"? is not expected", text)
        unknown += re.findall(r"Option '([\w.]+)' is not accepted", text)
        for key in unknown:
            last = key.lstrip("-").split(".")[-1]
            names = {n.lstrip("-").split(".")[-1] for n in known} | part_parameters()
            if close := difflib.get_close_matches(last, sorted(names - {last}), n=1, cutoff=0.6):
                text += f"\ndid you mean {key[: -len(last)]}{close[0]} ?"
        sys.stderr.write(f"fsar: {text}\n(`fsar {' '.join(sys.argv[1:2])} --help` lists every option)\n")
        sys.exit(2)


def part_parameters() -> set[str]:
    """Names of the constructor arguments of every method, encoder and alignment that is known."""
    parts: list[Any] = [Method, FrameEncoder, Alignment]
    for part in parts:
        parts += part.__subclasses__()
    return {name for part in parts for name in inspect.signature(part.__init__).parameters}


class CLI(LightningCLI):
    """LightningCLI with a run folder, and a command line that wins over the checkpoint."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run", type=str | None, default=None, help="The run folder: configuration, logs, results."
        )

    def _parse_ckpt_path(self) -> None:
        """Lightning lays hyper-parameters found in a checkpoint over the command line (Lightning #21116); ours holds
        none, and a metric named on the command line of ``test`` must win whatever the checkpoint says."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with logs and checkpoints in the run folder."""
        inherited = os.environ.get(RUN_VARIABLE) if "LOCAL_RANK" in os.environ else None
        folder = self._get(self.config, "run") or inherited or time.strftime(RUNS)
        os.environ[RUN_VARIABLE] = self.config[self.subcommand]["run"] = folder
        fit = self.subcommand == "fit"
        fresh = fit and not self._get(self.config, "ckpt_path") and "LOCAL_RANK" not in os.environ
        if fresh and Path(folder, "config.yaml").exists():
            raise FileExistsError(
                f"{folder} already holds a run. Name another folder with --run, or continue this one with "
                f"--ckpt_path {folder}/checkpoints/last.ckpt."
            )
        configured = self._get(self.config_init, "trainer")
        kwargs["default_root_dir"] = folder
        kwargs["callbacks"] = list(configured.callbacks or [])
        if configured.enable_progress_bar is not False:
            kwargs["callbacks"].append(RichProgressBar())
        kwargs["enable_checkpointing"] = fit and configured.enable_checkpointing is not False
        if kwargs["enable_checkpointing"]:
            checkpoints = Path(folder, "checkpoints")
            last = ModelCheckpoint(checkpoints, "last", enable_version_counter=False)
            kwargs["callbacks"] = [ResumePoint(checkpoints), *kwargs["callbacks"], BestCheckpoint(checkpoints), last]
        if configured.logger is None:
            loggers = [CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tensorboard")]
            kwargs["logger"] = loggers if fit else False
        return super().instantiate_trainer(**kwargs)

    def after_fit(self) -> None:
        """Say where everything is."""
        if self.trainer.is_global_zero:
            folder = self.trainer.default_root_dir
            print(f"\nrun folder: {folder}\ntest it:    fsar test --run {folder}")

    def before_test(self) -> None:
        """Our own report takes the place of Lightning's table."""
        self.config_init["test"]["verbose"] = False

    def before_validate(self) -> None:
        """Likewise."""
        self.config_init["validate"]["verbose"] = False

    def after_test(self) -> None:
        """Write the results, and say the one number with its interval."""
        self._report("test")

    def after_validate(self) -> None:
        """Likewise for the validation classes."""
        self._report("val")

    def _report(self, split: str) -> None:
        result, data = self.model.result, self.datamodule
        seen = seen_classes(self.model.trained_classes, data.splits[split].class_names)
        result["classes_seen_in_training"] = seen
        if seen:
            rank_zero_warn(
                f"{len(seen)} of the {split} classes were trained on ({', '.join(seen[:3])}): this is not few-shot "
                "accuracy on new classes."
            )
        self._dump_config()
        folder = write_results(Path(self.trainer.default_root_dir), self.model, data, self.config_dump, split)
        if self.trainer.is_global_zero:
            accuracy = Accuracy(result["accuracy"], result["interval_95"], result["episodes"])
            print(f"\n{split}: {data.ways}-way {data.test_shots}-shot accuracy {accuracy}")
            if "zero_shot_accuracy" in result:
                floor = Accuracy(result["zero_shot_accuracy"], result["zero_shot_interval_95"], result["episodes"])
                print(f"the class names alone (zero-shot): {floor}")
            print(f"{time_shares(result, len(data.splits[split]))}\nresults: {folder}")


class SaveConfig(SaveConfigCallback):
    """Writes the full configuration of a fit into its run folder."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            path = Path(trainer.default_root_dir, "config.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, path, skip_none=False, overwrite=True)
