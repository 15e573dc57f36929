"""Runs as others see them: a run folder, a folder that ``fsar publish`` wrote, or a Hugging Face repository.

What comes from others is read as data. Weights are safetensors, or checkpoints of tensors alone; nothing is unpickled,
and a published configuration is looked at by :mod:`fsar.sharing.published_config` before anything is built from it.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import yaml
from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open

from fsar.encoders.weights.state import refuse_nan
from fsar.sharing.published_config import check_classes, check_keys, name_files, needed
from fsar.terminal.files.aliases import rename_classes
from fsar.terminal.files.bounds import BYTES, check_bounds
from fsar.training.learner import CLASSES_KEY, FROZEN_KEY, METHOD_KEY
from fsar.training.pixels import PIXELS_KEY
from fsar.training.whole import check_whole

CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
FACTS = "fsar"  # key of the weights' metadata: JSON of what a checkpoint says beside its weights


@dataclass(frozen=True)
class Run:
    """A configuration and trained weights.

    Args:
        config: what ``--config`` takes: the path of a run folder's config.yaml; or, for a published run, the part of
            its configuration that was checked, as a line of YAML in braces.
        checkpoint: with the keys that :func:`fsar.training.check_checkpoint` reads, and ``state_dict``; None where
            nothing was trained.
    """

    config: str
    checkpoint: dict[str, Any] | None


def open_run(
    source: str | os.PathLike[str],
    checkpoint: str = "best",
    overrides: Sequence[str] = (),
    trust_classes: bool = False,
) -> Run:
    """Find a run and read it.

    Args:
        source: a folder that ``fsar fit --run`` or ``fsar test --run`` wrote, which is taken for your own work; a
            folder that ``fsar publish`` wrote; or, if there is no such folder, a Hugging Face repository ``user/name``.
        checkpoint: "best" or "last", of a run folder.
        overrides: options as on the command line; files that a published run needs are named by them.
        trust_classes: let a published configuration name any class, which runs its author's code.

    Raises:
        FileNotFoundError: nothing of the kind is there, or a file is needed that no override names.
        PermissionError: a repository that wants a login or its owner's consent.
        ConnectionError: a repository that cannot be reached and is not in the cache.
        ValueError: a damaged file, a checkpoint that would have to be unpickled, a class that is not trusted, or a
            key that no run has.
    """
    folder = Path(source)
    if isinstance(source, str) and is_repository(source):
        folder = download(source)
    if (folder / WEIGHTS).is_file():
        if checkpoint != "best":
            raise ValueError(f"{source} is published: it holds the best checkpoint alone, not {checkpoint!r}.")
        whole = read_config(folder / CONFIG)
        check_keys(whole, f"{source}/{CONFIG}")
        config = needed(whole)
        if not trust_classes:
            check_classes(config, f"{source}/{CONFIG}")
        config = name_files(config, str(source), overrides)
        line = yaml.safe_dump(config, default_flow_style=True, width=float("inf"), sort_keys=False)
        return Run(line, read_weights(folder / WEIGHTS))
    if checkpoint == "best" and was_only_tested(folder):
        named = best_checkpoint(folder)  # read within bounds
        return Run(str(folder / CONFIG), None if named is None else read_checkpoint(Path(named)))
    weights = folder / "checkpoints" / f"{checkpoint}.ckpt"
    for path in (folder / CONFIG, weights):
        if not path.is_file():
            there = (
                " last.ckpt is there: --checkpoint last takes it." if weights.with_name("last.ckpt").is_file() else ""
            )
            raise FileNotFoundError(
                f"{path} does not exist: {source} is no folder of `fsar fit --run` or `fsar test --run`, nor a "
                f"published one ({CONFIG} and {WEIGHTS}).{there}"
            )
    read_config(folder / CONFIG)  # within bounds, before all of it is taken for options
    return Run(str(folder / CONFIG), read_checkpoint(weights))


def was_only_tested(folder: Path) -> bool:
    """Whether a run folder has a configuration and results, and no checkpoint: what was tested there is the run."""
    saved, results = folder.glob("checkpoints/*.ckpt"), folder.glob("results/*/results.json")
    return (folder / CONFIG).is_file() and not any(saved) and any(results)


def best_checkpoint(folder: Path) -> str | None:
    """The checkpoint that stands for a run: its best; of one that was only tested the one that was tested, if any."""
    if was_only_tested(folder):
        return read_config(folder / CONFIG).get("ckpt_path")
    return str(folder / "checkpoints" / "best.ckpt")


def is_repository(source: str) -> bool:
    """Whether ``source`` reads as ``user/name`` of a Hugging Face repository and not as a folder.

    A folder that exists, or that would lie in one that exists, is a folder; so is what starts with a dot.

    >>> is_repository("user/name"), is_repository("./user/name"), is_repository("user/name/more")
    (True, False, False)
    """
    named = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source)
    return bool(named) and not os.path.exists(source) and not os.path.exists(os.path.dirname(source))


def download(repository: str) -> Path:
    """The folder where the configuration and weights of a Hugging Face repository now lie."""
    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS]))
    except GatedRepoError as error:
        raise PermissionError(
            f"{repository} is gated: ask for access on https://huggingface.co/{repository}, then log in (`hf auth "
            "login`, or HF_TOKEN)."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise FileNotFoundError(
            f"{repository} is neither a folder here nor a repository on Hugging Face; if it is a private one, log in "
            "(`hf auth login`, or HF_TOKEN)."
        ) from error
    except (HTTPError, OSError) as error:  # offline and not in the cache, or what the server answered
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConnectionError(
            f"{repository} is no folder here, and as a Hugging Face repository it could not be fetched ({reason}). "
            "Check the spelling, the connection, and HF_HUB_OFFLINE."
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ``fsar fit``; tensors and plain values alone, nothing is unpickled.

    Raises:
        ValueError: when the file is damaged, or would need code to be run.
    """
    try:
        check_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it is damaged, or holds more than tensors and plain values, which could run code when "
            "read. Checkpoints of `fsar fit` and published weights never do."
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise ValueError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} is no checkpoint of `fsar fit`: it holds no state_dict.")
    refuse_nan(content["state_dict"], str(path))
    return content


def read_weights(path: Path) -> dict[str, Any]:
    """Published weights, with the keys that a checkpoint has.

    Raises:
        ValueError: when the file is damaged, or was not written by ``fsar publish``.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get(FACTS, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as published weights: {error}") from error
    check_facts(facts, path)
    refuse_nan(state, str(path))
    return {**facts, "state_dict": state}


def check_facts(facts: Any, path: Path) -> None:
    """Refuse weights that do not say what they belong to.

    Raises:
        ValueError: names what their metadata lacks, or has of another kind.
    """
    said = facts if isinstance(facts, dict) else {}
    names, pixels = said.get(CLASSES_KEY), said.get(PIXELS_KEY, {})
    fine = {
        METHOD_KEY: isinstance(said.get(METHOD_KEY), str) and bool(said[METHOD_KEY]),
        FROZEN_KEY: isinstance(said.get(FROZEN_KEY), str) and bool(said[FROZEN_KEY]),
        CLASSES_KEY: isinstance(names, list) and all(isinstance(name, str) for name in names),
        PIXELS_KEY: isinstance(pixels, dict),
    }
    if missing := [key for key, is_fine in fine.items() if not is_fine]:
        raise ValueError(
            f"{path} does not say {', '.join(sorted(missing))} in its metadata: only what fsar publish wrote is "
            "read, so that weights never meet another method or other frozen weights unnoticed."
        )


def read_config(path: Path) -> dict[str, Any]:
    """A configuration as plain data, with the class paths of today.

    Raises:
        FileNotFoundError: when it is not there.
        ValueError: when it is not YAML, or lacks what is needed to build the method.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: a run cannot be read without its configuration.")
    size = path.stat().st_size
    if size > BYTES:
        raise ValueError(f"{path} has {size:,} bytes: a configuration has at most {BYTES:,}.")
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    check_bounds(text, str(path))
    try:
        content = rename_classes(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    sections = [content, *(content.get(key) for key in ("model", "data"))] if isinstance(content, dict) else [None]
    if not all(isinstance(section, dict) for section in sections) or "method" not in content["model"]:
        raise ValueError(f"{path} is no configuration of a run: it needs the sections model, with method, and data.")
    return content
