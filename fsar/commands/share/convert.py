"""A checkpoint as its authors saved it becomes a run that `fsar test`, `predict` and `report` read.

    fsar convert FILE --method trx/ssv2_small -o runs/trx -c data/ssv2_small [options of fsar test]

``--method`` names a shipped configuration, as ``-c method/NAME`` does; it must describe the network that was trained.
Read are files that hold tensors and plain values: a state dict, or one under ``model_state``, ``model_state_dict`` or
``state_dict`` (with ActionCLIP's ``fusion_model_state_dict`` beside it). Nothing is unpickled. Every weight must have
its place and every place its weight; what is missing, unknown or of another shape is named. CLIP itself is not read
from the file where it is frozen, since hardly one holds its text tower: ``pretrained`` in the configuration says where.
"""

from __future__ import annotations

import argparse
import importlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from torch import Tensor

from episodes.files import write_atomically
from fsar.build import build_with_trainer, make_parser, parse_options
from fsar.encoders.weights.state import list_names, refuse_nan
from fsar.method import Method
from fsar.sharing.run import CONFIG
from fsar.terminal.failure import Options, one_message
from fsar.terminal.files.shipped import list_shipped, suggest_shipped
from fsar.terminal.outputs import output_folder
from fsar.training.learner import Learner
from fsar.training.whole import WholeCheckpoints

WHERE = ("model_state", "model_state_dict", "state_dict")
"""Keys under which released code saves weights."""

SECOND = "fusion_model_state_dict"
"""Of ActionCLIP: the video head, whose names gain ``fusion.`` here."""

ENCODER = "encoder.visual."
OWN_WEIGHTS = "--model.method.encoder.init_args.weights"


def read_released(path: Path) -> dict[str, Tensor]:
    """The weights of a released checkpoint, names as its authors wrote them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, one that holds objects, or one without weights.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the checkpoint to convert.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it is damaged, or holds objects beside tensors and plain values, which could run code "
            "when read. Save its state dict alone, with the code that made it: torch.save(model.state_dict(), FILE)."
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
    found = next((content[key] for key in WHERE if isinstance(content, Mapping) and key in content), content)
    second = content.get(SECOND, {}) if isinstance(content, Mapping) else {}
    state = {**found, **{f"fusion.{name}": x for name, x in second.items()}} if isinstance(found, Mapping) else {}
    state = {name: x for name, x in state.items() if isinstance(x, Tensor)}
    if not state:
        raise ValueError(f"{path} holds no weights: expected names with tensors, or them under {', '.join(WHERE)}.")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): x for name, x in state.items()}
    refuse_nan(state, str(path))
    return state


def find_converter(method: type) -> Callable[..., dict[str, Tensor]]:
    """The function that renames released weights of a method: ``convert_released`` of its module.

    Raises:
        ValueError: for a method whose authors' names are not known here.
    """
    converter = getattr(importlib.import_module(method.__module__), "convert_released", None)
    if converter is None:
        raise ValueError(
            f"{method.__name__} has no released checkpoint whose names are known here: its module lacks a function "
            "convert_released(state) that renames the authors' weights."
        )
    renamed: Callable[..., dict[str, Tensor]] = converter
    return renamed


def rename_weights(method: Method, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Released weights under our names: by the method's converter, and its ``released_options`` if it has any, for a
    file that holds more than is used."""
    return find_converter(type(method))(state, **getattr(method, "released_options", {}))


def fill(learner: Learner, weights: Mapping[str, Tensor], source: str, of_clip: bool) -> dict[str, Tensor]:
    """Load renamed weights into a learner's method.

    Args:
        learner: whose method is filled.
        weights: under our names.
        source: what they were read from, for messages.
        of_clip: the frozen weights must be those that the encoder has, as of a CLIP; otherwise the file brings them.

    Returns:
        Frozen weights of the encoder that the file brought, without the encoder's prefix.

    Raises:
        ValueError: names what is missing, unknown, of another shape, or not what is frozen here.
    """
    method, trained = learner.method, trained_names(learner)
    own = method.state_dict()
    refuse_misfit(learner, weights, source)
    frozen = {k: x for k, x in weights.items() if k not in trained}
    if of_clip:
        off = [k for k, x in frozen.items() if not torch.allclose(x.float(), own[k].float(), atol=1e-3)]
        if off:
            raise ValueError(
                f"{source} was trained on another frozen tower than the configuration names ({list_names(off)} "
                "differ): set --model.method.encoder.init_args.pretrained to the weights that it started from."
            )
        frozen = {}
    method.load_state_dict({**own, **weights})
    return {k.removeprefix(ENCODER): x for k, x in frozen.items() if k.startswith(ENCODER)}


def refuse_misfit(learner: Learner, weights: Mapping[str, Tensor], source: str) -> None:
    """Raises ValueError that names renamed weights which are missing, unknown or of another shape."""
    own, trained = learner.method.state_dict(), trained_names(learner)
    problems = {
        "missing": [k for k in own if k not in weights and not is_constant(k, trained)],
        "unknown": [k for k in weights if k not in own],
        "of another shape": [
            f"{k} (file {tuple(x.shape)}, method {tuple(own[k].shape)})"
            for k, x in weights.items()
            if k in own and own[k].shape != x.shape
        ],
    }
    if said := "; ".join(f"{len(names)} {kind}: {list_names(names)}" for kind, names in problems.items() if names):
        raise ValueError(
            f"{source} does not fit {type(learner.method).__name__} as configured. Weights {said}. Change the "
            "configuration to what was trained (encoder, number of blocks, ways, frames)."
        )


def trained_names(learner: Learner) -> set[str]:
    """The weights of the method that a checkpoint of ours holds."""
    return {name.removeprefix("method.") for name in learner.state_dict()}


def is_constant(name: str, trained: set[str]) -> bool:
    """Whether a released file need not hold this: frozen weights of CLIP, and counters of BatchNorm."""
    return name not in trained or name.startswith("encoder.text.") or name.endswith("num_batches_tracked")


def write_run(folder: Path, learner: Learner, config: dict[str, Any]) -> None:
    """The run folder: configuration and best checkpoint, as ``fsar fit`` would leave them."""
    version = {"pytorch-lightning_version": lightning.__version__}
    checkpoint: dict[str, Any] = {"epoch": 0, "global_step": 0, **version, "state_dict": learner.state_dict()}
    learner.on_save_checkpoint(checkpoint)
    WholeCheckpoints().save_checkpoint(checkpoint, folder / "checkpoints" / "best.ckpt")
    with write_atomically(folder / CONFIG) as part:
        part.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


@one_message(program="fsar convert")
def main(args: list[str]) -> None:
    """Convert one file."""
    parser = Options(__doc__, prog="fsar convert")
    parser.add_argument("file", type=Path, help="the authors' checkpoint")
    parser.add_argument("--method", required=True, help="a shipped configuration of the method, such as trx/ssv2_small")
    parser.add_argument("-o", "--out", type=output_folder, required=True, help="the run folder, which must be new")
    own, rest = parser.parse_known_args(args)
    if own.out.exists():
        parser.error(f"{own.out} exists already: name a new folder with -o.")
    name = own.method if own.method.endswith((".yaml", ".yml")) else f"method/{own.method.removeprefix('method/')}"
    state = read_released(own.file)
    try:
        learner, config = configure(name, rest, parser)
    except FileNotFoundError as error:  # weights of CLIP: whether the file fits can be told without them
        learner = build_without_weights(name, rest)
        refuse_misfit(learner, rename_weights(learner.method, state), str(own.file))
        raise FileNotFoundError(f"{own.file} fits {type(learner.method).__name__}. {error}") from error
    weights = rename_weights(learner.method, state)
    options = config["model"]["method"]["init_args"]["encoder"]["init_args"]
    while "encoder" in options:  # in an Adapted one
        options = options["encoder"]["init_args"]
    encoder = fill(learner, weights, str(own.file), of_clip="pretrained" in options)
    own.out.mkdir(parents=True)
    if encoder:
        from safetensors.torch import save_file

        target = (own.out / "encoder.safetensors").absolute()
        with write_atomically(target) as part:
            save_file({key: x.contiguous() for key, x in encoder.items()}, part)
        options["weights"] = str(target)
    write_run(own.out, learner, config)
    count = sum(x.numel() for x in weights.values())
    print(f"{own.out}: {type(learner.method).__name__} with {count:,} weights of {own.file}")
    print(f"next: fsar test --run {own.out}")


def configure(name: str, rest: list[str], parser: argparse.ArgumentParser) -> tuple[Learner, dict[str, Any]]:
    """The learner that the configuration describes, its image network with random weights, and all options as data."""
    if name.startswith("method/") and name not in list_shipped():
        parser.error(f"--method {name.removeprefix('method/')} is no shipped configuration{suggest_shipped(name)}")
    built = build_with_trainer([*after_data(name, rest), *without_weights(name, rest)])
    return built.learner, built.config


def after_data(name: str, rest: list[str]) -> list[str]:
    """The options with files that say where clips come from in front, then the configuration: a recipe changes what
    they say of transforms, and all other options change the recipe."""
    data, others, i = list[str](), list[str](), 0
    while i < len(rest):
        named, _, joined = rest[i].partition("=")
        file = joined or "".join(rest[i + 1 : i + 2])
        given = named in ("-c", "--config")
        size = 2 if given and not joined else 1
        source = given and "benchmark" in (read_part(file, "data") or {})
        (data if source else others).extend(rest[i : i + size])
        i += size
    return [*data, "-c", name, *others]


def read_part(name: str, *keys: str) -> Any:
    """What stands under these keys of a configuration, shipped or a file; None where nothing does."""
    try:
        found = yaml.safe_load(list_shipped().get(name, Path(name)).read_text(encoding="utf-8"))
        for key in keys:
            found = found[key]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    return found


def build_without_weights(name: str, rest: list[str]) -> Learner:
    """The learner that the configuration describes, all of it with random weights."""
    parser = make_parser(None)
    config = parse_options(parser, after_data(name, rest))
    for key, value in list(config.model.method.items()):
        if key.rpartition(".")[2] in ("pretrained", "weights") and isinstance(value, str):
            config.model.method[key] = None
    learner: Learner = parser.instantiate(config).model
    return learner


def without_weights(name: str, rest: list[str]) -> list[str]:
    """The option that leaves an image network's own weights out: the file has them."""
    asked = "weights" in (read_part(name, "model", "method", "init_args", "encoder", "init_args") or {})
    given = any(word.split("=")[0] == OWN_WEIGHTS for word in rest)
    return [OWN_WEIGHTS, "null"] if asked and not given else []
