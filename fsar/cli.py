"""The command line: a stock LightningCLI, a run folder, and errors that say what to do."""

from __future__ import annotations

import difflib
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichModelSummary, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

import fsar.alignment
import fsar.methods  # noqa: F401  (so that short class names are known)
from episodes.datamodule import EpisodicDataModule
from fsar.learner import Learner

RUN_VARIABLE = "FSAR_RUN"  # processes that Lightning starts for other devices share the folder of the first
METHOD_KEY = "--model.method"
RUNS = "runs/%Y-%m-%d_%H-%M-%S"


def run(args: list[str]) -> None:
    """Run the command line; any failure is one message and exit status 1, unless ``--debug``."""
    debug = "--debug" in args
    args = [a for a in args if a != "--debug"]
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a user's own classes, named by class_path
    try:
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
    except KeyboardInterrupt:
        sys.exit(
            "fsar: interrupted; `--ckpt_path <run>/checkpoints/last.ckpt` continues a fit from its last checkpoint"
        )
    except Exception as error:
        if debug:
            raise
        sys.exit(f"fsar: {type(error).__name__}: {error}\n(--debug shows where)")


def expand(args: list[str]) -> list[str]:
    """Spell out two shorthands.

    ``--model.alignment X`` means ``--model.method.alignment X``. For validate, test and predict, ``--run FOLDER``
    brings in the folder's config.yaml, beneath every option given, and its best checkpoint.
    """
    own = {"method", "optimizer", "lr_scheduler", "no_weight_decay", "lr_factors", "help"}
    out = [
        re.sub(r"^--model\.", METHOD_KEY + ".", a) if (m := re.match(r"--model\.(\w+)", a)) and m[1] not in own else a
        for a in args
    ]
    out = [part for a in out for part in (a.split("=", 1) if a.startswith("--run=") else [a])]
    if any(re.match(r"--model\.method\..*help", a) for a in out) and not {"-c", "--config", METHOD_KEY} & set(out):
        out[1:1] = [METHOD_KEY, "ClipFSAR"]
    if "--run" not in out[:-1] or out[0] == "fit":
        return out
    folder = Path(out[out.index("--run") + 1])
    config, checkpoint = folder / "config.yaml", folder / "checkpoints" / "best.ckpt"
    if not config.is_file():
        raise FileNotFoundError(f"{config} does not exist: --run must name the folder of a finished `fsar fit`.")
    out[1:1] = ["--config", str(config)]
    if not any(a.split("=")[0] == "--ckpt_path" for a in out) and checkpoint.is_file():
        out += ["--ckpt_path", str(checkpoint)]
    return out


class Parser(LightningArgumentParser):
    """Says what is wrong in one line, and which key was probably meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print ``message`` with a suggestion and leave with status 2."""
        text = str(message).strip()
        known = {option for action in self._actions for option in action.option_strings}
        unknown = re.findall(r"(--[\w.]+)", text.split("unrecognized arguments:")[-1]) if "unrecognized" in text else []
        unknown += re.findall(r"[Kk]ey \"?'?([\w.]+)'?\"? is not expected", text)
        unknown += re.findall(r"does not accept (?:nested )?key '([\w.]+)'", text)
        for key in unknown:
            last = key.lstrip("-").split(".")[-1]
            names = {n.lstrip("-").split(".")[-1] for n in known} | _parameters_named_in(text)
            if close := difflib.get_close_matches(last, sorted(names - {last}), n=1, cutoff=0.6):
                text += f"\ndid you mean {key[: -len(last)]}{close[0]} ?"
        sys.stderr.write(f"fsar: {text}\n(`fsar {' '.join(sys.argv[1:2])} --help` lists every option)\n")
        sys.exit(2)


def _parameters_named_in(message: str) -> set[str]:
    """Parameter names of the classes whose path an error message quotes."""
    names: set[str] = set()
    for path in re.findall(r"'([\w.]+\.[A-Z]\w+)'", message):
        module, _, name = path.rpartition(".")
        owner = getattr(sys.modules.get(module), name, None)
        if isinstance(owner, type):
            names |= set(owner.__init__.__annotations__)  # type: ignore[misc]
    return names


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
        folder = (
            self._get(self.config, "run") or os.environ.get(RUN_VARIABLE) or time.strftime("runs/%Y-%m-%d_%H-%M-%S")
        )
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
        kwargs["callbacks"] = [*(configured.callbacks or []), RichProgressBar()]
        if configured.enable_model_summary is not False:
            kwargs["callbacks"].append(RichModelSummary(max_depth=2))
        if fit:
            kwargs["callbacks"].append(Checkpoints(folder))
        if configured.logger is None:
            loggers = [CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tensorboard")]
            kwargs["logger"] = loggers if fit else False
        return super().instantiate_trainer(**kwargs)

    def after_fit(self) -> None:
        """Say where everything is."""
        if self.trainer.is_global_zero:
            folder = self.trainer.default_root_dir
            print(f"\nrun folder: {folder}\ntest it:    fsar test --run {folder}")


class Checkpoints(ModelCheckpoint):
    """Keeps the best checkpoint on validation classes, and the last; without validation classes the last is the best.

    Args:
        folder: the run folder; checkpoints stand in ``<folder>/checkpoints/{best,last}.ckpt``.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            dirpath=Path(folder, "checkpoints"),
            filename="best",
            monitor="val_accuracy",
            mode="max",
            save_last=True,
            enable_version_counter=False,
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing can be monitored when the benchmark has no validation classes."""
        if not trainer.datamodule.has_validation:  # type: ignore[attr-defined]
            rank_zero_info("no validation classes: the last checkpoint is kept, none is chosen by its accuracy.")
            self.monitor = None


class SaveConfig(SaveConfigCallback):
    """Writes the full configuration of a fit into its run folder."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            path = Path(trainer.default_root_dir, "config.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, path, skip_none=False, overwrite=True)
