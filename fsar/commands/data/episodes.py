"""The test episodes as a file: write them, or check that a file or a result holds the episodes of a configuration.

    fsar episodes write  test.npz -c data/hmdb51 [--split test] [--data.test_shots 5]
    fsar episodes verify test.npz [-c data/hmdb51] [--results runs/a/results/*/*.json]

The file is an ``.npz``: ``classes (e n)``, ``support (e s)`` and ``query (e q)`` as numbers into ``class_names`` and
``paths``, class by class, and ``about``, a JSON text with benchmark, seed and the sha256 that results name as
``episodes_sha256``. It needs nothing of this project to be read, so that other code can be tested on the same episodes.
``--run FOLDER`` stands for the data configuration of a run.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from episodes.files import write_atomically
from episodes.words import pluralise
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file

if TYPE_CHECKING:
    from episodes.datamodule import EpisodicDataModule

PARTS = ("classes", "support", "query")


def describe(data: EpisodicDataModule, split: str) -> dict[str, Any]:
    """The list's arrays, and what it is of."""
    data.setup({"train": "fit", "val": "validate", "test": "test"}[split])
    draw = data.episode_sampler(split).episodes(np.arange(data.counts[split]))
    arrays = dict(zip(PARTS, draw, strict=True))
    names = {"paths": np.array(data.splits[split].paths), "class_names": np.array(data.splits[split].class_names)}
    return {**arrays, **names, "about": np.array(json.dumps(data.record(split)))}


def write(path: Path, content: dict[str, Any]) -> str:
    """Write a list in one step, and give its hash."""
    with write_atomically(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **content)
    return str(json.loads(str(content["about"]))["episodes_sha256"])


def verify(path: Path, data: EpisodicDataModule | None = None, results: Sequence[Path] = ()) -> dict[str, Any]:
    """Check a file against its own hash, against a configuration and against results.

    Returns:
        What the file says of itself.

    Raises:
        ValueError: when something differs, or the file is no list of episodes; the message says what.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in (*PARTS, "about")}
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no list of episodes, such as `fsar episodes write` makes.") from error
    about: dict[str, Any] = json.loads(str(content["about"]))
    digest = hashlib.sha256(f"{about['ways']} ways, {about['shots']} shots, {about['queries']} queries".encode())
    for part in PARTS:
        digest.update(np.ascontiguousarray(content[part], dtype="<i8").tobytes())
    if digest.hexdigest() != about["episodes_sha256"]:
        raise ValueError(f"{path}: the episodes have the hash {digest.hexdigest()}, not the one that the file names.")
    if data is not None:
        _same(path, about, json.loads(str(describe(data, about["split"])["about"])), "the configuration")
    for result in results:
        record = json.loads(result.read_text())
        if "data" not in record:
            raise ValueError(f"{result} is no results.json of `fsar test`: it does not say its data.")
        _same(path, about, record["data"], str(result))
    return about


def _same(path: Path, about: dict[str, Any], other: dict[str, Any], where: str) -> None:
    if about["episodes_sha256"] == other["episodes_sha256"]:
        return
    facts = ("benchmark", "split", "split_sha256", "ways", "shots", "queries", "seed", "episodes", "opposites")
    lines = [
        f"\n  {fact}: {about[fact]} in the file, {other[fact]} there" for fact in facts if about[fact] != other[fact]
    ]
    raise ValueError(f"{path} and {where} do not have the same episodes:{''.join(lines) or ' the lists differ.'}")


@one_message(program="fsar episodes")
def main(args: list[str]) -> None:
    """Write or verify."""
    parser = Options(__doc__, prog="fsar episodes")
    parser.add_argument("action", choices=("write", "verify"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--split", choices=("train", "val", "test"), default="test")
    parser.add_argument("--results", type=Path, nargs="+", default=[], help="results.json files to check against")
    own, rest = parser.parse_known_args(args)
    data: EpisodicDataModule | None = None
    if own.action == "write":
        output_file(str(own.file))
    if rest:
        from fsar.build import build_data  # here, for a file is verified without torch

        data = build_data(rest, "fsar episodes")
        data.features, data.check_videos = None, data.check_videos and data.skip_unreadable
    if own.action == "write":
        if data is None:
            parser.error("write needs the data configuration: -c FILE or --run FOLDER.")
        print(write(own.file, describe(data, own.split)))
        return
    about = verify(own.file, data, own.results)
    queries = pluralise(about["queries"], "query")
    task = f"{about['ways']}-way {about['shots']}-shot, {queries} per class, seed {about['seed']}"
    print(f"{own.file}: {pluralise(about['episodes'], 'episode')} of {about['benchmark']} {about['split']}, {task}")
    print(
        f"sha256 {about['episodes_sha256']}: as it says"
        + (", and as compared" if data is not None or own.results else "")
    )
