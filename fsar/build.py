"""From options and files to learner, data module and trainer: the one way, which every command goes.

Whatever works on a configured method takes the options of ``fsar test`` beside its own: ``-c`` files, ``--run FOLDER``
for the configuration and best checkpoint of a run, ``--ckpt_path``, ``--data.*``, ``--model.*`` and ``--trainer.*``.
``fit``, ``validate`` and ``test`` run on Lightning's engine; their sections, shorthands, checks and refusals are those
of this file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import SUPPRESS, ArgumentError, Namespace
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import fsar.methods  # noqa: F401  (so that short class names are known)
from episodes.datamodule import EpisodicDataModule
from fsar.encoders.weights.options import spell_encoder
from fsar.sharing.run import best_checkpoint, read_checkpoint, was_only_tested
from fsar.terminal import usage
from fsar.terminal.failure import LIST_OPTIONS, OptionsAsked
from fsar.terminal.files.config_files import config_files, read_yaml, spell_out
from fsar.terminal.files.layers import set_back
from fsar.terminal.files.sources import list_sources
from fsar.terminal.processes import end_with_parent
from fsar.terminal.user_code import find_user_code
from fsar.terminal.wrong_use import WrongUse
from fsar.training.joining import check_joined, check_precision, check_sound
from fsar.training.learner import Learner
from fsar.training.pixels import check_framing

METHOD_OPTION = "--model.method"
SECTIONS: dict[str, type[Any]] = {"trainer": Trainer, "model": Learner, "data": EpisodicDataModule}
TRAINER_DEFAULTS = {"trainer.num_sanity_val_steps": 0, "trainer.inference_mode": False}
OF_A_TEST = ("weights_only", "verbose")
"""Keys of the configuration of a run that was only tested, which building does not read."""
QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
ALONE: dict[str, Any] = {**QUIET, "precision": "32-true", "use_distributed_sampler": False}
"""Of a trainer outside fit, validate and test: it keeps nothing, and every process sees to its own share."""


class Parser(usage.PlainParser, LightningArgumentParser):
    """Lightning's parser, with errors in a line or two."""

    unread: tuple[str, ...] = ()
    """Keys that files may hold, for other commands; on the command line they are no options."""


class Built(NamedTuple):
    """What a command works with: the learner, with the weights of a checkpoint where one was named; data in the form
    that its encoder asks for; a trainer that keeps nothing; all that was said or is meant by default, as plain data."""

    learner: Learner
    data: EpisodicDataModule
    trainer: Trainer
    config: dict[str, Any]


def build(args: Sequence[str], device: str = "auto") -> tuple[Learner, EpisodicDataModule]:
    """The method and data that options as on the command line describe; no trainer, and no global seed is touched.

    Raises:
        FileNotFoundError: for a file or run that is not there.
        ValueError: for an option or file that cannot be understood, parts that do not fit, a device that is not there.
    """
    place = device_of(device)
    parser = make_parser(None, ("model", "data"))
    config = parse_options(parser, args)
    seed = 0 if isinstance(config.seed_everything, bool) else config.seed_everything
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # weights that are random on purpose come out as in the fit
        parts = parser.instantiate(config)
    join_parts(parts.model, parts.data)
    if config.ckpt_path:
        load_weights(parts.model, parts.data, read_checkpoint(Path(config.ckpt_path)))
    return parts.model.to(place), parts.data


def build_with_trainer(args: Sequence[str], program: str | None = None) -> Built:
    """What :func:`build` gives, with a trainer; seeds all generators as a test does, and moves nothing.

    Args:
        args: options.
        program: of this name, which ends at a wrong option; without it that is a ValueError.

    Raises:
        FileNotFoundError, ValueError: as :func:`build`; likewise for what the trainer refuses.
    """
    find_user_code()
    parser = make_parser(program)
    config = parse_options(parser, args)
    if config.seed_everything is not False:
        given = None if config.seed_everything is True else config.seed_everything
        config.seed_everything = seed_everything(given, workers=True)
    parts = parser.instantiate(config)
    join_parts(parts.model, parts.data, parts.trainer)
    trainer = make_trainer(lambda: Trainer(**{**parts.trainer, **ALONE}))
    if config.ckpt_path:
        load_weights(parts.model, parts.data, read_checkpoint(Path(config.ckpt_path)))
    said = {
        key: value
        for key, value in config.clone(with_meta=False).as_dict().items()
        if key not in ("config", *parser.unread)
    }
    return Built(parts.model, parts.data, trainer, said)


def build_data(args: Sequence[str], program: str | None = None) -> EpisodicDataModule:
    """The data alone; what files say of a method and a trainer is not read, and a run's checkpoint neither.

    Raises:
        FileNotFoundError, ValueError: as :func:`build`.
    """
    find_user_code()
    parser = make_parser(program, ("data",))
    data: EpisodicDataModule = parser.instantiate(parse_options(parser, args)).data
    return data


def make_parser(program: str | None, sections: Collection[str] = tuple(SECTIONS), **kwargs: Any) -> Parser:
    """A parser of these sections, to which a command may add options; the others may stand in files and are not read.

    Args:
        program: of this name, which ends at a wrong option; without it :func:`parse_options` raises.
        sections: of ``trainer``, ``model``, ``data``.
        kwargs: of the parser, such as its description.
    """
    parser = Parser(prog=program, exit_on_error=program is not None, **kwargs)
    parser.add_argument("-c", "--config", action="config", help="A YAML file, or the name of a shipped one.")
    parser.add_argument("--seed_everything", type=bool | int, default=True, help="Of weights that are random.")
    add_sections(parser, sections)
    parser.unread = (*OF_A_TEST, *(key for key in SECTIONS if key not in sections))
    if "model" in sections:
        parser.add_argument("--ckpt_path", type=str | None, default=None, help="Trained weights.")
    else:
        parser.unread += ("ckpt_path",)
    for key in parser.unread:
        parser.add_argument(f"--{key}", default=None, help=SUPPRESS)
    return parser


def add_sections(parser: LightningArgumentParser, sections: Collection[str] = tuple(SECTIONS)) -> None:
    """Sections of a configuration, and the run folder."""
    for key in sections:
        parser.add_lightning_class_args(SECTIONS[key], key)
    if "trainer" in sections:
        parser.set_defaults(TRAINER_DEFAULTS)
    parser.add_argument("--run", type=str | None, default=None, help="The run folder: configuration, logs, results.")


def parse_options(parser: Parser, args: Sequence[str]) -> Namespace:
    """What a command line says, shorthands spelt out.

    Raises:
        FileNotFoundError: for a file or run that is not there.
        ValueError: for a file that cannot be understood; for an option, where the parser does not end the program.
    """
    if list(args) == [LIST_OPTIONS]:
        raise OptionsAsked(parser)
    typed = (word.partition("=")[0] for word in args if word.startswith("--"))
    unknown = next((option for option in typed if option[2:].split(".")[0] in parser.unread), None)
    own = any("--encoder" in action.option_strings for action in parser._actions)
    words = expand(["test", *(args if own or "model" in parser.unread else spell_encoder(args))])[1:]
    try:
        if unknown:
            parser.error(f"there is no option {unknown} here")
        return parser.parse_args(words)
    except ArgumentError as error:
        options = {option for action in parser._actions for option in action.option_strings}
        raise WrongUse(usage.simplify(usage.told(error, error), words, options)) from None


def join_parts(learner: Learner, data: EpisodicDataModule, trainer: Mapping[str, Any] | None = None) -> None:
    """Bring method and data together, before any video is read.

    Args:
        learner: with the method.
        data: which is to bring frames into the form that the encoder asks for.
        trainer: its options, when there is to be one.

    Raises:
        ValueError: for parts that do not fit, naming the option.
    """
    if trainer is not None:
        check_precision(trainer["precision"])
    check_joined(learner.method, data.frames)
    check_sound(learner.method, data.sound_rate)
    data.follow(learner.framing)


def make_trainer(make: Callable[[], Trainer]) -> Trainer:
    """A trainer, whose processes end with the one that started them; what it refuses is said in our words.

    Raises:
        ValueError: naming what was refused.
    """
    end_with_parent()
    try:
        return make()
    except (MisconfigurationException, TypeError) as error:
        raise explain_refusal(error) from error


def load_weights(learner: Learner, data: EpisodicDataModule, checkpoint: Mapping[str, Any]) -> None:
    """The trained weights of a checkpoint, after a look whether they belong to this learner and these frames.

    Raises:
        ValueError: when they do not.
    """
    learner.on_load_checkpoint(dict(checkpoint))
    check_framing(learner.method.encoder, data, dict(checkpoint))
    learner.load_state_dict(checkpoint["state_dict"], strict=False)


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
        raise WrongUse("--run is empty: name a folder.")
    configured = {"-c", "--config", METHOD_OPTION} & {a.split("=")[0] for a in out}
    if any(re.match(r"--model\.method\..*help", a) for a in out) and not names_method(out):
        out[1:1] = [METHOD_OPTION, "ClipFSAR"]  # help on a part needs to know of which method
    if "--data.benchmark.help" in out:
        after = out[out.index("--data.benchmark.help") + 1 :]
        if not after or after[0].startswith("-"):  # no class is named
            print(list_sources())
            sys.exit(0)
    if out and re.fullmatch(r"--model\.method\.(.*\.)?help", out[-1]):
        raise WrongUse(f"{out[-1]}: expected the name of a class after it, found none; docs/methods.md lists them.")
    if "--run" not in out[:-1] or out[0] == "fit":
        return [*out, *set_back(out)]
    folder = Path(out[out.index("--run") + 1])
    config = folder / "config.yaml"
    anew = configured and was_only_tested(folder) and names_method(out)  # files then say all, as for the first test
    if config.is_file() and not anew:
        out[1:1] = ["--config", str(config)]
        checkpoint = best_checkpoint(folder)
        if checkpoint and "--ckpt_path" not in {a.split("=")[0] for a in out}:
            out += ["--ckpt_path", checkpoint]
    elif not configured:
        raise FileNotFoundError(
            f"{config} does not exist: --run must name the folder of a `fsar fit` or `fsar test`, or a new one "
            "together with -c files."
        )
    return [*out, *set_back(out)]


def names_method(args: Sequence[str]) -> bool:
    """Whether options or files of a command line, shorthands spelt out, say which method it is."""
    if METHOD_OPTION in {word.split("=")[0] for word in args}:
        return True
    files = (read_yaml(Path(file)) for file in config_files(args) if Path(file).is_file())
    sections = (content.get("model") for content in files if isinstance(content, dict))
    return any(isinstance(section, dict) and "method" in section for section in sections)


def explain_refusal(error: Exception) -> ValueError:
    """What Lightning says of the trainer's options; of devices also which there are, and the option that takes them."""
    said = " ".join(str(error).split())
    if not re.search("(?i)gpu|cuda|device", said):
        return ValueError(f"trainer: {said}")
    gpus = torch.cuda.device_count()
    found = f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU that torch can use"
    return ValueError(f"trainer: {said} This machine has {found}; --trainer.accelerator auto takes what there is.")


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
