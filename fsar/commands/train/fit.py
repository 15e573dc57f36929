"""The command line: a stock LightningCLI, a run folder, and errors that say what to do."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from episodes.benchmarks import seen_classes
from episodes.datamodule import EpisodicDataModule
from episodes.files import write_atomically
from episodes.files.locks import WITHOUT_LOCKS, held_alone
from episodes.words import pluralise
from fsar.build import Parser, add_sections, expand, join_parts, make_trainer
from fsar.commands.completion import write_script
from fsar.commands.measure.over_splits import main as test_over_splits
from fsar.commands.train.run_folder import SaveConfig, claim, loggers, remove_empty
from fsar.encoders.weights.options import spell_encoder
from fsar.evaluation.comparing.reach import describe_reach
from fsar.evaluation.marks import marks, method_marks
from fsar.evaluation.metrics import Accuracy
from fsar.evaluation.provenance import tell_scoring, time_shares
from fsar.evaluation.results import set_damaged_aside, write_results
from fsar.evaluation.said import encoder_templates, names_alone, quote_templates, random_encoders, template
from fsar.inference.unknown import Unknown, describe
from fsar.sharing.run import read_checkpoint, was_only_tested
from fsar.terminal.failure import one_message
from fsar.terminal.user_code import find_user_code
from fsar.terminal.wrong_use import WrongUse
from fsar.training.checkpoints import BestCheckpoint, LastCheckpoint, ResumePoint
from fsar.training.learner import Learner
from fsar.training.live import EpisodeProgress, count_weights
from fsar.training.whole import write_whole
from fsar.training.worth import Worth

RUN_VARIABLE = "FSAR_RUN"  # processes that Lightning starts for other devices share the folder of the first
SHOTS = "--test_shots"
RUNS = "runs/%Y-%m-%d_%H-%M-%S"


def main(args: list[str]) -> None:
    """Run the command line; any failure is one message and exit status 2 or 1, unless ``--debug``."""
    if args[:1] == ["test"] and any(word.partition("=")[0] == "--splits" for word in args):
        return test_over_splits(args[1:])
    debug, unknown = "--debug" in args, args[:1] == ["test"] and "--unknown" in args
    args = [a for a in args if a != "--debug" and not (unknown and a == "--unknown")]
    if args[-2:] == ["--help", "all"]:
        args = args[:-1]  # without "all" it was answered before
    find_user_code()  # also where other processes start
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of calls that Lightning makes
    try:
        with one_message(debug):
            args, shots = take_shots([*args[:1], *spell_encoder(args[1:])])
            CLI(
                Learner,
                EpisodicDataModule,
                shots=shots,
                args=expand(args),
                unknown=unknown,
                parser_class=Parser,
                parser_kwargs={"prog": "fsar"},
                save_config_callback=SaveConfig,
                save_config_kwargs={"save_to_log_dir": False},
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)  # by itself it would leave with status 0


def take_shots(args: list[str]) -> tuple[list[str], list[int]]:
    """The command line with the first of ``--test_shots 1 5`` as ``--data.test_shots 1``, and all of them.

    Raises:
        WrongUse: for what is no number of shots, or is there twice.
    """
    args = [part for word in args for part in (word.split("=", 1) if word.startswith(f"{SHOTS}=") else [word])]
    if args[:1] not in (["test"], ["validate"]) or SHOTS not in args:
        return args, []
    if args.count(SHOTS) > 1:
        raise WrongUse(f"{SHOTS} is given twice: name all numbers after one, as in {SHOTS} 1 5.")
    at = args.index(SHOTS)
    end = next((i for i in range(at + 1, len(args)) if args[i].startswith("-")), len(args))
    words = args[at + 1 : end]
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words) or len(set(words)) < len(words):
        raise WrongUse(f"{SHOTS}: expected different whole numbers of 1 or more, found {' '.join(words) or 'none'}.")
    return [*args[:at], "--data.test_shots", words[0], *args[end:]], [int(word) for word in words]


class CLI(LightningCLI):
    """LightningCLI with a run folder, and a command line that wins over the checkpoint."""

    def __init__(self, *args: Any, shots: Sequence[int] = (), unknown: bool = False, **kwargs: Any) -> None:
        """Runs the command; what fails before it has something to keep leaves no folder.

        Args:
            args: of Lightning's own.
            shots: several numbers to evaluate with, one after the other, on videos that are encoded once.
            unknown: also whether clips of no class are told.
            kwargs: of Lightning's own.
        """
        self.shots, self.lines, self.called = list(shots), list[str](), next(iter(kwargs["args"]), None)
        self.made: list[Path] = []
        self.unknown = Unknown() if unknown else None
        try:
            with ExitStack() as self.held:
                super().__init__(*args, **kwargs)
        except BaseException:
            remove_empty(self.made, getattr(self, "trainer", None))
            raise

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The command that was called, for four parsers take time to make and one is asked."""
        every = LightningCLI.subcommands()
        return {name: skipped for name, skipped in every.items() if name == self.called} or every

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The sections of every command."""
        add_sections(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """``fsar --completion`` prints what completes the options in a shell."""
        if args == ["--completion"]:
            print(write_script(self._subcommand_parsers), end="")
            sys.exit()
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Lightning lays hyper-parameters found in a checkpoint over the command line (Lightning #21116); ours holds
        none, and a metric named on the command line of ``test`` must win whatever the checkpoint says."""

    def before_instantiate_classes(self) -> None:
        """Refuse a checkpoint that is not there, or is none."""
        path = self._get(self.config, "ckpt_path")
        if path is None or "://" in path or (self.subcommand == "fit" and path in ("last", "hpc")):
            return
        if not Path(path).is_file():
            folder = Path(self._get(self.config, "run") or ".", "checkpoints")
            there = ", ".join(sorted(map(str, folder.glob("*.ckpt")))) or f"none in {folder}"
            raise FileNotFoundError(
                f"--ckpt_path {path}: there is no such checkpoint; there is {there}. `fsar fit` makes them at the end "
                "of every epoch; to evaluate without trained weights, --ckpt_path null."
            )
        read_checkpoint(Path(path))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of parts that fit, with logs and checkpoints in the run folder."""
        join_parts(self.model, self.datamodule, self._get(self.config_init, "trainer"))
        inherited = os.environ.get(RUN_VARIABLE) if "LOCAL_RANK" in os.environ else None
        folder = self._get(self.config, "run") or inherited or time.strftime(RUNS)
        os.environ[RUN_VARIABLE] = self.config[self.subcommand]["run"] = folder
        fit = self.subcommand == "fit"
        requeued = SLURMEnvironment.detect() and any(Path(folder).glob("hpc_ckpt_*.ckpt"))  # Lightning goes on from it
        fresh = fit and not (self._get(self.config, "ckpt_path") or requeued or "LOCAL_RANK" in os.environ)
        configured = self._get(self.config_init, "trainer")
        if fit and configured.max_epochs == 0:
            raise ValueError("trainer.max_epochs is 0: nothing would be trained; without training, use `fsar test`.")
        self.made = claim(Path(folder))
        if fit and getattr(rank_zero_only, "rank", 0) == 0:
            self._begin(Path(folder), fresh)
        kwargs["default_root_dir"] = folder
        kwargs["callbacks"] = own = list(configured.callbacks or [])
        if configured.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in own):
            kwargs["callbacks"].append(EpisodeProgress())
        kwargs["enable_checkpointing"] = fit and configured.enable_checkpointing is not False
        if kwargs["enable_checkpointing"]:
            checkpoints = Path(folder, "checkpoints")
            kept = [BestCheckpoint(checkpoints), LastCheckpoint(checkpoints)]
            kwargs["callbacks"] = [ResumePoint(checkpoints), *kwargs["callbacks"], *kept]
        if configured.enable_model_summary is None:
            kwargs["enable_model_summary"] = False  # one line of ours takes the place of Lightning's table
        kwargs["callbacks"] += [Worth()] if fit else [self.unknown] if self.unknown else []
        kwargs["logger"] = loggers(configured.logger, folder) if fit else configured.logger or False
        trainer = make_trainer(partial(super().instantiate_trainer, **kwargs))
        write_whole(trainer.strategy)
        return trainer

    def _begin(self, folder: Path, fresh: bool) -> None:
        """Hold the run folder, which another fit must not fill meanwhile; refuse to begin where a run is."""
        try:
            self.held.enter_context(held_alone(folder, wait=False))
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
        if not fresh or not (folder / "config.yaml").exists():
            return
        saved = sorted(folder.glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        if saved or was_only_tested(folder):
            go_on = f", or continue this one with --ckpt_path {saved[-1]}" if saved else ""
            raise FileExistsError(f"{folder} already holds a run. Name another folder with --run{go_on}.")
        rank_zero_info(f"{folder}: a fit that was begun here has left no checkpoint; it is begun again.")

    def before_fit(self) -> None:
        """Say what is trained, and where."""
        if self.trainer.is_global_zero:
            print(f"{count_weights(self.model.method)}, on {self.trainer.strategy.root_device}")

    def after_fit(self) -> None:
        """Say where everything is."""
        if self.trainer.is_global_zero:
            folder = self.trainer.default_root_dir
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                print(f"\n{callback.line()}" if isinstance(callback, Worth) and callback.line() else "", end="")
            print(f"\nrun folder: {folder}\ntest it:    fsar test --run {shlex.quote(str(folder))}")

    def before_test(self) -> None:
        """Our own report takes the place of Lightning's table."""
        self.config_init[self.subcommand]["verbose"] = False
        self.model.keeps_bank, self.datamodule.together = len(self.shots) > 1, tuple(self.shots)
        if self.trainer.is_global_zero:
            set_damaged_aside(Path(self.trainer.default_root_dir))

    before_validate = before_test

    def after_test(self) -> None:
        """Write the results, and say the one number with its interval."""
        self._after("test")

    def after_validate(self) -> None:
        """Likewise for the validation classes."""
        self._after("val")

    def _after(self, split: str) -> None:
        """Report; then evaluate and report with the other numbers of shots, and say all once more, side by side."""
        command = str(self.subcommand)
        again = {**self._prepare_subcommand_kwargs(command), "ckpt_path": None}  # its weights are loaded
        self._report(split)
        for shots in self.shots[1:]:
            self.datamodule.test_shots = self.config_dump["data"]["test_shots"] = shots
            getattr(self.trainer, command)(**again)
            self._report(split)
        if len(self.shots) > 1 and self.trainer.is_global_zero:
            print("", *self.lines, sep="\n")

    def _keep_config(self, path: Path) -> None:
        """Make a folder without a fit a run like any other, by the configuration that is tested there."""
        if self.trainer.is_global_zero and (not path.exists() or was_only_tested(path.parent)):
            config = {key: value for key, value in self.config_dump.items() if key != "verbose"}
            config["trainer"] = {**config["trainer"], "logger": None}
            with write_atomically(path) as part:
                part.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def _report(self, split: str) -> None:
        result, data = self.model.result, self.datamodule
        seen = seen_classes(self.model.trained_classes, data.splits[split].class_names)
        result["classes_seen_in_training"] = seen
        if self.unknown:
            result["unknown"] = self.unknown.found
        if seen:
            rank_zero_warn(
                f"{pluralise(len(seen), f'{split} class')} trained on ({', '.join(seen[:3])}): this is not few-shot "
                "accuracy on new classes."
            )
        self._dump_config()
        if self.trainer.is_global_zero:
            self._say(split)  # before anything is written, which a full disk may prevent
        if len(self.lines) < 2:  # the first of several evaluations
            self._keep_config(Path(self.trainer.default_root_dir, "config.yaml"))
        folder = write_results(Path(self.trainer.default_root_dir), self.model, data, self.config_dump, split)
        if self.trainer.is_global_zero:
            print(f"results: {folder}")

    def _say(self, split: str) -> None:
        result, data, method = self.model.result, self.datamodule, self.model.method
        kind, mark = type(method).__name__, f", {words}" if (words := marks(method_marks(method))) else ""
        accuracy = Accuracy(result["accuracy"], result["interval_95"], result["episodes"])
        self.lines.append(f"{split}: {data.test_ways}-way {data.test_shots}-shot accuracy {accuracy}{mark}")
        print(f"\n{self.lines[-1]}\n{describe_reach(result)}")
        if "top5_accuracy" in result:
            print(f"top-5: {100 * result['top5_accuracy']:.2f} %")
        if "zero_shot_accuracy" in result:
            floor = Accuracy(result["zero_shot_accuracy"], result["zero_shot_interval_95"], result["episodes"])
            print(f"the class names alone (zero-shot, {quote_templates(encoder_templates(method))}): {floor}")
        if names_alone({"method": kind, "inference": getattr(method, "inference", None)}):
            print(f"no support clip was read: a class is its name in {template({'config': self.config_dump})}")
        if self.unknown:
            print(describe(self.unknown.found))
        took = time_shares(result, len(data.splits[split]), data.test_views)
        print("\n".join(filter(None, (took, tell_scoring([result])))))
        count = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        read = self._get(self.config, "ckpt_path") is not None
        if count and not read:
            print(f"note: no checkpoint was read; the {count:,} weights that {kind} trains are as before a fit.")
        if found := random_encoders(self.config_dump["model"], read):
            print(f"note: the weights of the encoder {', '.join(found)} are random.")
