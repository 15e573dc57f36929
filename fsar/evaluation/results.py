"""What an evaluation leaves behind: one row per query, and a record that says where every number comes from."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from episodes.episode import Episode, IndexEpisode
from episodes.files import write_atomically
from fsar.encoders.weights.state import hash_tensors
from fsar.evaluation.accuracy import Accuracy, from_json, half_interval, to_json
from fsar.evaluation.cells import to_cell
from fsar.evaluation.comparing.reach import measure_reach
from fsar.evaluation.marks import record_marks
from fsar.evaluation.provenance import commit, versions
from fsar.evaluation.said import encoder_templates


class Predictions:
    """Scores of every query of every episode of an evaluation, in the order of the episodes' numbers."""

    def __init__(self) -> None:
        self._batches: list[dict[str, np.ndarray]] = []
        self.class_names: tuple[str, ...] = ()

    def add(self, episodes: Episode | IndexEpisode, logits: Tensor) -> None:
        """Keep ``logits (e q n)`` of a batch of episodes, or ``(q n)`` of one."""
        if episodes.number.dim() == 0:
            episodes, logits = episodes.map(lambda x: x[None]), logits[None]
        self.class_names = episodes.class_names
        videos = episodes.query if isinstance(episodes, IndexEpisode) else torch.full_like(episodes.query_labels, -1)
        tensors = {
            "number": episodes.number,
            "classes": episodes.classes,
            "truth": episodes.query_labels,
            "video": videos,
            "scores": logits.float(),
        }
        self._batches.append({name: value.detach().cpu().numpy() for name, value in tensors.items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """``number (e)``, ``classes (e n)``, ``truth (e q)``, ``video (e q)`` and ``scores (e q n)`` of all ranks,
        sorted by number, each episode once."""
        batches = self._batches
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            shares: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(shares, batches)
            batches = [batch for share in shares for batch in share]
        joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        _, first = np.unique(joined["number"], return_index=True)
        return {name: value[first] for name, value in joined.items()}


def summarise(arrays: dict[str, np.ndarray], class_names: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy with its interval, top-5 accuracy where there are more than five classes, accuracy per class and the
    confusion counts ``[truth][prediction]``.

    Args:
        arrays: of :meth:`Predictions.arrays`.
        class_names: the ``C`` names of the split.
    """
    right = arrays["scores"].argmax(-1) == arrays["truth"]
    per_episode = right.mean(-1)
    count = len(per_episode)
    spread = float(per_episode.std(ddof=1)) if count > 1 else float("nan")
    accuracy = Accuracy(float(per_episode.mean()), half_interval(spread, count), count)
    truth = np.take_along_axis(arrays["classes"], arrays["truth"], -1)
    guess = np.take_along_axis(arrays["classes"], arrays["scores"].argmax(-1), -1)
    confusion = np.zeros((len(class_names),) * 2, dtype=np.int64)
    np.add.at(confusion, (truth.ravel(), guess.ravel()), 1)
    seen = confusion.sum(1)
    per_class = {name: float(confusion[c, c] / seen[c]) for c, name in enumerate(class_names) if seen[c]}
    top5 = {"top5_accuracy": float(top_accuracy(arrays, 5).mean())} if arrays["scores"].shape[-1] > 5 else {}
    return {
        "accuracy": accuracy.mean,
        "interval_95": accuracy.interval,
        **top5,
        "episodes": accuracy.episodes,
        "queries": int(right.size),
        **measure_reach(arrays),
        "per_class_accuracy": per_class,
        "confusion": confusion.tolist(),
        "class_names": list(class_names),
    }


def top_accuracy(arrays: dict[str, np.ndarray], count: int) -> np.ndarray:
    """``(e q)`` bool: the truth is among the ``count`` highest scores; a class that ties with it stands before it."""
    truth = np.take_along_axis(arrays["scores"], arrays["truth"][..., None], -1)
    higher = (arrays["scores"] >= truth).sum(-1)  # the truth itself is one of them
    found: np.ndarray = higher <= count
    return found


def write_rows(part: Path, arrays: dict[str, np.ndarray], class_names: tuple[str, ...], paths: list[str]) -> None:
    """One row per query as gzipped CSV, which every table library reads: names, file, and a score per class.

    A name that a spreadsheet would run has a mark before it, see :mod:`fsar.evaluation.cells`.

    Args:
        part: the file, before it has its name.
        arrays: of :meth:`Predictions.arrays`.
        class_names: the ``C`` names of the split.
        paths: files of the split's videos, by video number; empty when the queries are not numbered.
    """
    ways = arrays["scores"].shape[-1]
    header = ["episode", "video", "truth", "prediction"]
    header += [f"class_{i}" for i in range(ways)] + [f"score_{i}" for i in range(ways)]
    guess = arrays["scores"].argmax(-1)
    with (
        part.open("wb") as raw,
        gzip.GzipFile("", "wb", 3, raw, mtime=0) as packed,  # a name, as of an unfinished file, would stand in it
        io.TextIOWrapper(packed, "utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        for e, number in enumerate(arrays["number"].tolist()):
            names = [to_cell(class_names[c]) for c in arrays["classes"][e]]
            for q, video in enumerate(arrays["video"][e].tolist()):
                name = to_cell(paths[video]) if video >= 0 and paths else ""
                scores = [f"{score:.6g}" for score in arrays["scores"][e, q].tolist()]
                writer.writerow([number, name, names[arrays["truth"][e, q]], names[guess[e, q]], *names, *scores])


def write_results(folder: Path, learner: Any, datamodule: Any, config: dict[str, Any], split: str = "test") -> Path:
    """Write ``results.json`` and ``episodes.csv.gz`` of an evaluation; over processes, the first one writes.

    Args:
        folder: the run folder; the results go to ``<folder>/results/<split>_<n>way_<k>shot[_<inference>]``.
        learner: after the evaluation: its ``method``, its ``rows`` of :meth:`Predictions.arrays` and its ``result``.
        datamodule: its ``record(split)``, ``episode_sampler(split)`` and ``splits``.
        config: the full configuration.
        split: the split that was evaluated.

    Returns:
        The folder of the two files.
    """
    data = datamodule.record(split)
    name = f"{split}_{data['ways']}way_{data['shots']}shot"
    if inference := getattr(learner.method, "inference", None):
        name += f"_{inference}"
    name += "_opposites" if data["opposites"] else ""
    config_sha256 = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()
    target = own_folder(Path(folder, "results", name), config_sha256)
    if dist.is_available() and dist.is_initialized() and dist.get_rank() != 0:
        return target
    draw = datamodule.episode_sampler(split).episodes(np.arange(data["episodes"]))
    record = {
        "method": type(learner.method).__name__,
        "inference": inference,
        **record_marks(learner.method, data),
        **learner.result,
        **(
            {"zero_shot_templates": encoder_templates(learner.method)} if "zero_shot_accuracy" in learner.result else {}
        ),
        "distinct_episodes": len(np.unique(np.concatenate(draw, axis=1), axis=0)),
        "data": data,
        "weights_sha256": hash_tensors(learner.method.state_dict()),
        "encoder_sha256": learner.method.encoder.fingerprint(trained=True),
        "pixels": learner.method.encoder.pixels,
        **texts_record(learner.method, learner.objectives.members),
        "checkpoint": config.get("ckpt_path"),
        "config": config,
        "config_sha256": config_sha256,
        "commit": commit(),
        "versions": versions(),
        "processes": dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    target.mkdir(parents=True, exist_ok=True)
    rows = learner.rows, tuple(learner.result["class_names"]), list(datamodule.splits[split].paths)
    try:  # rows and record belong together: both are whole before either takes its place
        with write_atomically(target / "results.json") as part, write_atomically(target / "episodes.csv.gz") as table:
            write_rows(table, *rows)
            part.write_text(to_json(record) + "\n", encoding="utf-8")
    except OSError:  # as on a full disk
        with suppress(OSError):  # former results lie there
            target.rmdir()
        raise
    return target


def texts_record(method: Any, objectives: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What a method was told of its classes: the file or pack, which kinds of text, and a hash of all; nothing for one
    that reads the templates of its encoder, or no text. And for each objective that has a file or pack, by the name of
    its loss, the hash of its texts as they are configured now: those of the training, unless they were changed since.
    """
    bank = getattr(method, "texts", None)
    own = {"texts": bank.source, "text_kinds": list(bank.kinds), "texts_sha256": bank.sha256} if bank else {}
    told = {name: bank for name, each in objectives.items() if (bank := getattr(each, "texts", None)) and bank.source}
    hashes = {name: bank.sha256 for name, bank in told.items()}
    return own | ({"objective_texts_sha256": hashes} if hashes else {})


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record so that an interruption leaves the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as part:
        part.write_text(to_json(record) + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any] | None:
    """What a ``results.json`` holds, None where it is damaged: cut short by a crash, or no record at all."""
    try:
        record = from_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def set_damaged_aside(folder: Path) -> list[Path]:
    """Give damaged results of a run folder another name, so that they are in nobody's way and nothing is lost.

    To be called before the work starts: what is found out after an evaluation costs the evaluation.

    Args:
        folder: the run folder; looked at is ``<folder>/results/*/results.json``.

    Returns:
        The new names, ``results.damaged.json``; rows that were written with one, ``episodes.damaged.csv.gz``.
    """
    moved = []
    for path in sorted(folder.glob("results/*/results.json")):
        if path.is_file() and read_record(path) is None:
            for number in itertools.count(1):
                word = "damaged" if number == 1 else f"damaged-{number}"
                goal = path.with_name(f"results.{word}.json")
                if not goal.exists():
                    break
            path.replace(goal)
            rows = path.with_name("episodes.csv.gz")
            if rows.is_file():
                rows.replace(rows.with_name(f"episodes.{word}.csv.gz"))
            rank_zero_info(f"{path} is damaged: it is set aside as {goal.name}.")
            moved.append(goal)
    return moved


def own_folder(folder: Path, config_sha256: str) -> Path:
    """``folder``, or ``folder-2``, ``folder-3``, ... when results of another configuration stand there already."""
    for number in itertools.count(1):
        choice = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        path = choice / "results.json"
        if not path.is_file() or (read_record(path) or {}).get("config_sha256") == config_sha256:
            return choice
    raise AssertionError("unreachable")
