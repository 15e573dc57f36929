"""Heads side by side on your clips: trained on stored features over several divisions of the classes, before and after.

    fsar rank -c data/folder --data.benchmark.init_args.root clips --encoder encoder/small --out runs/rank
    fsar rank -c clips.yaml --encoder lite0.yaml --out runs/rank --heads trx hyrsm mine.yaml --divisions 5 --steps 150

All clips are encoded once by the frozen encoder, with --views random views for training. The classes of all splits are
put together and divided anew by a seed, --divisions times, into as many for train, val and test as the benchmark has
(or as --sizes says): one division ranks nothing where there are few classes. On each, every head is trained for --steps
episodes at every one of --rates, by Adam with a cosine schedule; the rate that is best on validation classes stays, and
the head is tested before and after, on the same episodes of test classes. --components puts all features into so many
principal components of the frames of the training classes first, for heads that cost too much otherwise. A head is a
name, or a configuration whose encoder and optimiser are replaced. Every result is written when it is there, and one
that is there is not made again; results of other options in the same folder are refused. The last row is a linear probe
of the test classes with many shots: what the features hold.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from episodes.datamodule import EpisodicDataModule
from episodes.files import write_atomically
from episodes.parts import TaskOptions
from fsar.build import device_of, make_parser, parse_options
from fsar.encoders import FrameEncoder
from fsar.evaluation.bank import feature_key
from fsar.method import Method
from fsar.methods import NearestNeighbour
from fsar.ranking import (
    StoredEncoder,
    Trial,
    divide_classes,
    gain_table,
    probe_many_shots,
    read_trial,
    store,
    try_head,
    write_trial,
)
from fsar.terminal.failure import one_message
from fsar.terminal.files.shipped import find_shipped
from fsar.terminal.outputs import output_folder
from fsar.terminal.wrong_use import WrongUse

ARGS = "--model.method.init_args"
CHANNELS, WIDTH = "{channels}", "{width}"
HEADS: dict[str, list[str]] = {
    "frame_mean": ["-c", "method/prototype", "--model.alignment", "FrameMean"],
    "otam": ["-c", "method/otam"],
    "linear_probe": ["-c", "method/linear_probe"],
    "prototype_head": ["-c", "method/prototype_head", f"{ARGS}.temporal.init_args.channels", CHANNELS],
    "cross_transformer": ["-c", "method/cross_transformer", f"{ARGS}.alignment.init_args.channels", CHANNELS],
    "trx": ["-c", "method/trx", f"{ARGS}.width", WIDTH],
    "hyrsm": ["-c", "method/hyrsm"],
    "hyrsm_plus_plus": ["-c", "method/hyrsm_plus_plus"],
    "team": ["-c", "method/team"],
    "strm": ["-c", "method/strm", f"{ARGS}.width", WIDTH],
    "molo": ["-c", "method/molo", f"{ARGS}.reconstruction_weight", "0"],  # its decoder needs pixels
    "ta2n": ["-c", "method/ta2n"],
}
"""What is said of each on a command line, with the number of channels put in; TRX's keys are no wider than these."""
CEILING = "linear_probe, many shots"


def build_head(name: str, shape: StoredEncoder, seed: int = 0) -> Method:
    """A head by its name, or of a configuration, for features of this shape; its weights are random, by the seed.

    Raises:
        ValueError: for a method that encodes clips in a way of its own, of which nothing can be stored.
    """
    sizes = {CHANNELS: str(shape.channels), WIDTH: str(min(1152, shape.channels))}
    words = [sizes.get(word, word) for word in HEADS.get(name, ["-c", name])]
    options = {name: getattr(shape, name) for name in ("channels", "image_size", "patch_channels")}
    behind = json.dumps({"class_path": "fsar.ranking.StoredEncoder", "init_args": {**options, "grid": shape.sides}})
    parser = make_parser(None, ("model",))
    config = parse_options(parser, [*words, "--model.encoder", behind])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        method: Method = parser.instantiate(config).model.method
    if type(method).encode is not Method.encode or method.text_conditioned:
        raise ValueError(
            f"{name}: {type(method).__name__} encodes clips in a way of its own; there is nothing to store."
        )
    return method.eval()


def read_encoder(said: str) -> FrameEncoder:
    """The encoder of a YAML or of a shipped one's name.

    Raises:
        ValueError: for one that is trained.
    """
    parser = make_parser(None, ("model",))
    words = ["-c", "method/prototype", "--model.encoder", said]
    method: Method = parser.instantiate(parse_options(parser, words)).model.method
    if not method.encoder.frozen:
        raise ValueError(f"{said}: fsar rank keeps the encoder as it is; set its tune to frozen.")
    return method.encoder.eval()


def run(data: EpisodicDataModule, own: Any, say: Callable[[str], None] = print) -> str:
    """Make what is not there yet below ``own.out``; gives the table of all benchmarks there."""
    settings = settings_of(data, own)
    device, benchmark, encoder = device_of("auto"), data.load(), read_encoder(own.encoder)
    data.follow(encoder.framing)
    data.train_episodes, folder = own.steps, own.out / benchmark.name
    grid, wide = (encoder.grid, encoder.widths["patches"]) if "patches" in encoder.gives else (None, 0)
    whole = StoredEncoder(encoder.channels, grid, encoder.image_size, wide)
    needs = list(dict.fromkeys(need for name in own.heads for need in build_head(name, whole).needs))
    if own.components and "patches" in needs and wide != encoder.channels:
        raise ValueError(
            f"--components {own.components}: patches of {wide} channels do not lie among the components of frames of "
            f"{encoder.channels}. Leave it out, or the heads that read patches."
        )
    classes = {name: benchmark.split(name).class_names for name in ("train", "val", "test")}
    divide_classes(classes, 0, own.sizes)  # refuses sizes before a clip is encoded
    compare_settings(folder, settings)
    key = feature_key(NearestNeighbour(encoder))
    pool = store(encoder.to(device), needs, data, own.out / "features", own.views, key)
    assert pool.plain is not None
    compare_settings(folder, settings | {"clips, frames and encoder in the store": pool.plain.folder.name})
    for seed in range(own.divisions):
        files = {name: folder / f"{Path(name).stem}-{seed}.json" for name in [*own.heads, CEILING]}
        todo = {name: file for name, file in files.items() if not file.exists()}
        if not todo:
            continue
        division, shape, these = divide_classes(classes, seed, own.sizes), whole, pool
        if own.components:
            shape = StoredEncoder(own.components, whole.sides, whole.image_size)
            these = pool.reduced(pool.part("train", division["train"]), own.components, needs)
        for name, file in todo.items():
            if name == CEILING:
                trial = probe_many_shots(build_head("linear_probe", shape), these, division, data, device)
            else:
                make = partial(copy.deepcopy, build_head(name, shape, seed))
                trial = try_head(make, these, division, data, own.rates, device)
            write_trial(file, trial)
            told = f"{100 * trial.before.mean():.1f} → {100 * trial.after.mean():.1f}"
            say(f"{benchmark.name}, division {seed}, {name}: {told}; rate {trial.rate:g} of {trial.validation}")
    return gain_table(read_all(own.out, own.heads))


def settings_of(data: EpisodicDataModule, own: Any) -> dict[str, Any]:
    """What results depend on beside the features, by the option that says it.

    Raises:
        WrongUse: for a head that is not known.
        ValueError: for two heads of one name, whose results would be in one file.
    """
    for name in own.heads:
        if name not in HEADS and not name.endswith((".yaml", ".yml")) and find_shipped(name) is None:
            close = difflib.get_close_matches(name, HEADS, 1)
            hint = f"did you mean {close[0]} ?" if close else f"Heads are {', '.join(HEADS)}, or a YAML file."
            raise WrongUse(f"--heads: there is no head {name!r}{'; ' if close else '. '}{hint}")
    names = [Path(name).stem for name in own.heads]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"--heads: two are called {twice[0]}, and their results would be kept as one: rename a file.")
    task = {field.name: getattr(data, field.name) for field in fields(TaskOptions)}
    said = {f"--data.{name}": value for name, value in task.items() if name not in ("benchmark", "train_episodes")}
    options = {f"--{name}": getattr(own, name) for name in ("sizes", "rates", "steps", "views", "components")}
    heads = {
        f"the head {name}": hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] if Path(file).is_file() else name
        for name, file in zip(names, own.heads, strict=True)
    }
    return {**said, **options, **heads}


def compare_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Keeps what results are made with beside them.

    Raises:
        ValueError: where there are results that were made with other settings, or it is not known with which.
    """
    file = folder / "settings.json"
    made = any(folder.glob("*-[0-9]*.json"))
    before = json.loads(file.read_text()) if made and file.exists() else {}
    way_out = "Give another --out, or delete this folder."
    if made and not before:
        raise ValueError(f"{folder}: what its results were made with is not known. {way_out}")
    for name, value in settings.items():
        if name in before and before[name] != value:
            raise ValueError(f"{folder}: its results were made with {name} {before[name]}, not {value}. {way_out}")
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as part:
        part.write_text(json.dumps({**before, **settings}, indent=1))


def read_all(out: Path, heads: Sequence[str]) -> dict[str, dict[str, list[Trial]]]:
    """``{benchmark: {head: trials}}`` of all that was written below ``out``."""
    found: dict[str, dict[str, list[Trial]]] = {}
    for folder in sorted({file.parent for file in out.glob("*/*-*.json")}):
        for name in [*heads, CEILING]:
            files = sorted(folder.glob(f"{Path(name).stem}-[0-9]*.json"))
            if files:
                found.setdefault(folder.name, {})[name] = [read_trial(file) for file in files]
    return found


@one_message(program="fsar rank")
def main(args: list[str]) -> None:
    """Train, test, print the table."""
    listed = f"names: {', '.join(HEADS)}"
    parser = make_parser("fsar rank", ("data",), description=__doc__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "--encoder", type=str, required=True, help="a YAML of a frozen encoder, or a shipped one's name"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of features and results; several benchmarks may share it"
    )
    parser.add_argument("--heads", type=str, nargs="+", default=list(HEADS), help=f"{listed}; or YAML files")
    parser.add_argument("--divisions", type=int, default=5, help="of the classes")
    parser.add_argument("--sizes", type=int, nargs="+", default=[], help="train, val and test classes; the benchmark's")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-5, 1e-4], help="learning rates to choose from")
    parser.add_argument("--steps", type=int, default=150, help="training episodes at each rate")
    parser.add_argument("--views", type=int, default=2, help="random views of every clip for training")
    parser.add_argument(
        "--components", type=int, default=0, help="principal components of the features; 0: as they are"
    )
    found: Any = parse_options(parser, args)
    output_folder(str(found.out))
    data: EpisodicDataModule = parser.instantiate(found).data
    print(f"\n{run(data, found)}")
