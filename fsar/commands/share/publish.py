"""Pack a run so that others can load it: weights, configuration, results and a model card.

    fsar publish runs/mine --to ./published             # a folder
    fsar publish runs/mine --to user/name --private     # a Hugging Face repository

The folder holds model.safetensors (what training changed in best.ckpt; of a run that was
only tested, what training would change; frozen weights stay out and are named by hash),
config.yaml (what building the method needs), results/ (every test of these weights) and README.md. No path of this
machine goes along. ``fsar.load("published")`` or ``fsar.load("user/name")`` reads it. A target reads as a
repository when it is user/name and no folder user is here; ./user/name is a folder in any case.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import yaml
from huggingface_hub.errors import HTTPError
from safetensors.torch import save

import fsar
from fsar.encoders.weights.state import hash_tensors
from fsar.evaluation.accuracy import from_json
from fsar.evaluation.provenance import commit, versions
from fsar.evaluation.results import write_json
from fsar.sharing.card import Packed, write_card
from fsar.sharing.published_config import file_name, files_of, foreign_classes, is_absolute, needed, portable, strings
from fsar.sharing.run import CONFIG, FACTS, WEIGHTS, best_checkpoint, is_repository, read_checkpoint, read_config
from fsar.terminal import failure
from fsar.terminal.outputs import output_folder
from fsar.terminal.user_code import find_user_code
from fsar.training.learner import CALIBRATION_KEY, CLASSES_KEY, FROZEN_KEY, METHOD_KEY
from fsar.training.pixels import PIXELS_KEY

CARD, RESULTS = "README.md", "results"
FOLDERS = re.compile(
    r"(?<![\w:/\\.])(?:~|[A-Za-z]:)?[/\\](?:[^\s:;,'\"()\[\]{}/\\]+[/\\])+"
)  # of an absolute path in a text


@dataclass(frozen=True)
class PublishOptions:
    """What the card says beside what the run says.

    Args:
        address: what others will give to ``fsar.load``.
        license: Hugging Face's name of a licence.
        code: where classes that are no part of fsar are found.
        episodes: publish every single prediction as well.
    """

    address: str
    license: str = "unknown"
    code: str = ""
    episodes: bool = False


def pack(run: Path, folder: Path, options: PublishOptions) -> list[str]:
    """Write what is published of a run.

    Args:
        run: a folder that ``fsar fit --run`` wrote, or ``fsar test --run``.
        folder: a new one.
        options: for the card.

    Returns:
        What was left out, in words.

    Raises:
        FileNotFoundError: when there is no run or no best checkpoint, or its frozen weights are not here.
        ValueError: when the checkpoint does not fit the configuration, or needs code that ``options`` do not place.
    """
    if not (run / CONFIG).is_file():
        raise FileNotFoundError(
            f"{run} holds no run ({CONFIG} is not there); `fsar fit --run {run}` or `fsar test --run {run}` writes one."
        )
    full, checkpoint = read_config(run / CONFIG), find_checkpoint(run)
    config = portable(needed(full))
    foreign = sorted(set(foreign_classes(config).values()))
    if foreign and not options.code:
        raise ValueError(
            f"{run} needs {', '.join(foreign)}, which is no part of fsar: say in a sentence with --code where others "
            "find it, such as an address."
        )
    weights = hash_tensors(fsar.load(run, device="cpu").learner.method.state_dict())
    facts = {
        k: checkpoint[k] for k in (METHOD_KEY, FROZEN_KEY, CLASSES_KEY, PIXELS_KEY, CALIBRATION_KEY) if k in checkpoint
    }
    folder.mkdir(parents=True)
    state = {name: value.clone().contiguous() for name, value in checkpoint["state_dict"].items()}
    packed_weights = save(state, {FACTS: json.dumps(facts)})
    (folder / WEIGHTS).write_bytes(packed_weights)
    (folder / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    private = machine_folders(full)
    records, left_out = copy_results(run, folder, weights, private, options.episodes)
    sha256 = hashlib.sha256(packed_weights).hexdigest()
    packed = Packed(
        address=options.address,
        config=without_paths(recipe(full), private),
        checkpoint=checkpoint,
        facts=facts,
        records=records,
        hashes={f"sha256 of {WEIGHTS}": sha256, "sha256 of all weights, frozen and trained": weights},
        commit=commit(),
        versions=versions(),
        files=files_of(config),
        foreign=foreign,
        code=options.code,
        license=options.license,
    )
    (folder / CARD).write_text(write_card(packed), encoding="utf-8")
    return left_out


def find_checkpoint(run: Path) -> dict[str, Any]:
    """What is published of a run: its best checkpoint, or that which was tested; of a run that was tested without one
    the weights as they were made.

    Raises:
        FileNotFoundError, ValueError: as :func:`pack`.
    """
    named = best_checkpoint(run)
    if named is None:
        learner = fsar.load(run, device="cpu").learner
        made: dict[str, Any] = {"state_dict": learner.state_dict()}
        learner.on_save_checkpoint(made)
        return made
    path = Path(named)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: {run} holds no trained run, nor one that was tested; `fsar fit --run {run}` or "
            f"`fsar test --run {run}` writes one."
        )
    checkpoint = read_checkpoint(path)
    if missing := {METHOD_KEY, FROZEN_KEY, CLASSES_KEY} - checkpoint.keys():
        raise ValueError(f"{path} does not say {', '.join(sorted(missing))}: `fsar fit` did not write it.")
    return checkpoint


def copy_results(
    run: Path, folder: Path, weights: str, private: Sequence[str], episodes: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Copy the results that were measured on these ``weights``, without paths of this machine.

    Returns:
        Their records, and what was left out, in words.
    """
    records, left_out = [], []
    for path in sorted(run.glob(f"{RESULTS}/*/results.json")):
        found, name = from_json(path.read_text(encoding="utf-8")), f"{RESULTS}/{path.parent.name}"
        if found["weights_sha256"] != weights:
            left_out.append(f"{name}: measured on other weights than are published; test again to publish it.")
            continue
        record = without_paths({**found, "config": recipe(found["config"])}, private)
        write_json(folder / name / "results.json", record)
        records.append(record)
        if episodes:
            source, target = (where / name / "episodes.csv.gz" for where in (run, folder))
            with gzip.open(source, "rt", newline="") as rows, gzip.open(target, "wt", newline="") as out:
                csv.writer(out).writerows(without_paths(row, private) for row in csv.reader(rows))
    return records, left_out


def recipe(config: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says of training and testing; loggers and callbacks, which may hold secrets, stay out."""
    trainer = config.get("trainer") or {}
    plain = {key: value for key, value in trainer.items() if not isinstance(value, dict | list) and value is not None}
    plain = {key: value for key, value in plain.items() if key not in ("logger", "default_root_dir")}
    return {
        "seed_everything": config.get("seed_everything"),
        "trainer": plain,
        "model": config["model"],
        "data": config["data"],
    }


def machine_folders(config: dict[str, Any]) -> list[str]:
    """Folders of this machine that a result may name: this one, home, and those of the configuration; longest first."""
    named = {text for _, text in strings(config) if is_absolute(text)}
    return sorted({os.getcwd(), str(Path.home()), *named} - {"/"}, key=len, reverse=True)


def without_paths(value: Any, private: Sequence[str]) -> Any:
    """Plain data without absolute paths, also in keys and sentences: the ``private`` folders keep their last part and
    what lies in them, others the name of the file."""
    if isinstance(value, dict):
        return {without_paths(key, private): without_paths(item, private) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item, private) for item in value]
    if not isinstance(value, str):
        return value
    for folder in private:
        value = re.sub(rf"(?<![\w:/\\.]){re.escape(folder)}(?![\w.-])", file_name(folder), value)
    value = FOLDERS.sub("", value)
    return file_name(value) if is_absolute(value) else value


def place(packed: Path, folder: Path) -> None:
    """Put what was packed into ``folder``, in the place of what was published there before.

    Raises:
        FileExistsError: when the folder holds anything else; nothing is touched then.
    """
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    if folder.is_file() or (entries and not all((folder / name).is_file() for name in (WEIGHTS, CONFIG))):
        raise FileExistsError(f"{folder} is there and holds something else: name a new or an empty folder with --to.")
    for name in (CARD, CONFIG, WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    if (folder / RESULTS).is_dir():
        shutil.rmtree(folder / RESULTS)
    shutil.copytree(packed, folder, dirs_exist_ok=True)


def upload(packed: Path, repository: str, token: str, private: bool) -> str:
    """Put what was packed into a Hugging Face repository, which is made if need be, and return its address.

    Raises:
        ConnectionError: when it cannot be reached, or refuses.
    """
    api = huggingface_hub.HfApi(token=token)
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=packed,
            commit_message=f"fsar {fsar.__version__}: publish",
            delete_patterns=[f"{RESULTS}/*"],  # of an earlier publication
        )
    except (HTTPError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConnectionError(
            f"{repository} could not be written to on Hugging Face: {reason}. The token needs write access to it; for "
            f"a folder, write --to ./{repository}."
        ) from error
    return str(address)


@failure.one_message(program="fsar publish")
def main(args: list[str]) -> None:
    """Pack, then place or upload."""
    parser = failure.Options(__doc__, prog="fsar publish")
    parser.add_argument("run", type=Path, help="a folder that `fsar fit --run` or `fsar test --run` wrote")
    parser.add_argument("--to", required=True, help="a folder, or user/name of a Hugging Face repository")
    parser.add_argument("--token", help="of Hugging Face; otherwise HF_TOKEN, or that of `hf auth login`")
    parser.add_argument("--private", action="store_true", help="make the repository private, if it is new")
    parser.add_argument("--license", default="unknown", help="Hugging Face's name of a licence, such as apache-2.0")
    parser.add_argument("--code", default="", help="where classes that are no part of fsar are found, in a sentence")
    parser.add_argument("--episodes", action="store_true", help="publish every single prediction as well")
    own = parser.parse_args(args)
    find_user_code()
    remote = is_repository(own.to)
    token = (own.token or huggingface_hub.get_token()) if remote else None
    if remote and not token:
        raise PermissionError(
            f"{own.to} reads as a Hugging Face repository, which needs a token: --token, HF_TOKEN or `hf auth "
            f"login`. For a folder, write --to ./{own.to}."
        )
    if not remote:
        output_folder(own.to)
    address = own.to if remote else Path(own.to).resolve().name
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch, "packed")
        left_out = pack(own.run, packed, PublishOptions(address, own.license, own.code, own.episodes))
        if token:
            where = upload(packed, own.to, token, own.private)
        else:
            place(packed, Path(where := own.to))
    for line in left_out:
        print(f"left out {line}")
    print(f"published: {where}\nload it:   fsar.load({own.to!r})")
