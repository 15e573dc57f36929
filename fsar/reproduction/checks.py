"""Before anything runs: are lists and files there, can every work be built, and what of it is trained?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import yaml

from episodes.datamodule import EpisodicDataModule
from episodes.splits import Benchmark
from fsar.build import build
from fsar.evaluation.bank import feature_key
from fsar.reproduction.recipes import Asked, Work
from fsar.reproduction.short import training_episodes
from fsar.training.learner import Learner

AS_ASKED: dict[str, Any] = {"size": None, "train_transform": None, "test_transform": None}
"""Data that follow the encoder, in the place of what a preset says."""


@dataclass(frozen=True)
class Checked:
    """A work that can be done.

    Args:
        work: with the changes that came of the check.
        learner: of its configuration.
        data: likewise.
        trained: weights that its training changes.
        episodes: that it trains on, options of the command line among what says so.
        stored: whether what it trains and tests on can be stored, since its encoder is frozen.
    """

    work: Work
    learner: Learner
    data: EpisodicDataModule
    trained: int
    episodes: int
    stored: bool


def check_works(asked: Asked, works: Sequence[Work], weights: bool = True) -> Iterator[Checked]:
    """Build every work, and draw from the benchmark what it will draw; one at a time, so that memory is let go.

    Args:
        asked: by the command line.
        works: to be looked at.
        weights: read weights; without, networks are random, which costs the same.

    Raises:
        ValueError, FileNotFoundError: naming the work.
    """
    benchmark: Benchmark | None = None
    for work in works:
        try:
            found = check_work(asked, work, weights)
            if asked.root is not None:
                found.data._benchmark = benchmark = benchmark or found.data.load()
                for shots in work.shots:
                    refuse_few(found, benchmark, shots)
        except (ValueError, FileNotFoundError) as error:
            told = (
                str(error).replace("allow_missing: true", "--allow-missing").replace("allow_changed", "allow-changed")
            )
            raise type(error)(told if benchmark is None and asked.root else f"{work.name}: {told}") from error
        yield found


def check_work(asked: Asked, work: Work, weights: bool = True) -> Checked:
    """Build one work; data follow another encoder where it asks for frames of another size."""
    changes = work.changes if weights else without_weights(work)
    following = {"data": {**work.changes["data"], **AS_ASKED}}
    if asked.encoder:
        learner, data = build(options_of(work, {**changes, **following}, asked))
    if asked.encoder and learner.framing.size != work.content["data"].get("size", learner.framing.size):
        said = f"frames as the encoder asks, {learner.framing.size} px"
        work = replace(work, changes={**work.changes, **following}, differs=(said, *work.differs))
    else:
        learner, data = build(options_of(work, changes, asked))
    method = learner.method
    try:
        feature_key(method, training=True)
        stored = method.encoder.frozen
    except ValueError:
        stored = False
    trained = sum(weight.numel() for weight in method.parameters() if weight.requires_grad)
    counted = {"train_episodes": data.train_episodes, "episodes_per_batch": data.episodes_per_batch}
    episodes = training_episodes({"trainer": {**work.content["trainer"], **of_trainer(asked)}, "data": counted})
    return Checked(work, learner, data, trained, episodes if trained else 0, stored)


def of_trainer(asked: Asked) -> dict[str, Any]:
    """Options of the trainer on the command line, by name."""
    words = [part for word in asked.options for part in (word.split("=", 1) if word.startswith("--") else [word])]
    pairs = pairwise(words)
    return {key.removeprefix("--trainer."): yaml.safe_load(x) for key, x in pairs if key.startswith("--trainer.")}


def refuse_few(found: Checked, benchmark: Benchmark, shots: int) -> None:
    """Raises ValueError where a split has too few classes or clips for its episodes."""
    data, test_shots = found.data, found.data.test_shots
    data.test_shots = shots
    for split in (benchmark.train, benchmark.val, benchmark.test):
        if split.class_names and (split.name != "train" or found.trained):
            try:
                data.draw(split, split.name == "train")
            except ValueError as error:
                raise ValueError(f"split {split.name} of {benchmark.name}: {error}") from error
    data.test_shots = test_shots


def options_of(work: Work, changes: Mapping[str, Any], asked: Asked) -> list[str]:
    """The words of a command line that stand for a work; what is said of the trainer builds nothing."""
    files = [word for name in work.files for word in ("-c", name)]
    options, of_trainer = [], False
    for word in asked.options:
        of_trainer = word.startswith("--trainer.") or (of_trainer and not word.startswith("--"))
        options += [] if of_trainer else [word]
    return [*files, "-c", json.dumps(changes), *options]


def without_weights(work: Work) -> dict[str, Any]:
    """Changes of a work, and random weights wherever files or names of weights stand."""

    def emptied(node: Any) -> Any:
        if not isinstance(node, Mapping):
            return node
        return {key: None if key in ("pretrained", "weights") else emptied(value) for key, value in node.items()}

    method = work.content["model"]["method"]["init_args"]
    changed = {**work.changes.get("model", {}), "method": {"init_args": {"encoder": emptied(method["encoder"])}}}
    return {**work.changes, "model": changed}
