"""What an evaluation leaves behind: one row per query, and a record that says where every number comes from."""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from episodes.episode import Episode
from fsar.evaluation.metrics import Accuracy

PACKAGES = ("fsar", "torch", "torchvision", "lightning", "open_clip_torch", "av", "decord", "numpy")


class Predictions:
    """Scores of every query of every episode of an evaluation, in the order of the episodes' numbers."""

    def __init__(self) -> None:
        self._batches: list[dict[str, np.ndarray]] = []
        self.class_names: tuple[str, ...] = ()

    def add(self, episodes: Episode, logits: Tensor) -> None:
        """Keep ``logits (e q n)`` of a batch of episodes, or ``(q n)`` of one."""
        if episodes.number.dim() == 0:
            episodes, logits = episodes.map(lambda x: x[None]), logits[None]
        self.class_names = episodes.class_names
        index = episodes.query.dim() == 2  # (e q): the queries are video numbers
        tensors = {
            "number": episodes.number,
            "classes": episodes.classes,
            "truth": episodes.query_labels,
            "video": episodes.query if index else torch.full_like(episodes.query_labels, -1),
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
    """Accuracy with its interval, accuracy per class and the confusion counts ``[truth][prediction]``.

    Args:
        arrays: of :meth:`Predictions.arrays`.
        class_names: the ``C`` names of the split.
    """
    right = arrays["scores"].argmax(-1) == arrays["truth"]
    per_episode = right.mean(-1)
    count = len(per_episode)
    spread = float(per_episode.std(ddof=1)) if count > 1 else float("nan")
    accuracy = Accuracy(float(per_episode.mean()), 1.96 * spread / count**0.5, count)
    truth = np.take_along_axis(arrays["classes"], arrays["truth"], -1)
    guess = np.take_along_axis(arrays["classes"], arrays["scores"].argmax(-1), -1)
    confusion = np.zeros((len(class_names),) * 2, dtype=np.int64)
    np.add.at(confusion, (truth.ravel(), guess.ravel()), 1)
    seen = confusion.sum(1)
    per_class = {name: float(confusion[c, c] / seen[c]) for c, name in enumerate(class_names) if seen[c]}
    return {
        "accuracy": accuracy.mean,
        "interval_95": accuracy.interval,
        "episodes": accuracy.episodes,
        "queries": int(right.size),
        "per_class_accuracy": per_class,
        "confusion": confusion.tolist(),
        "class_names": list(class_names),
    }


def write_rows(path: Path, arrays: dict[str, np.ndarray], class_names: tuple[str, ...], paths: list[str]) -> None:
    """One row per query as gzipped CSV, which every table library reads: names, file, and a score per class.

    Args:
        path: ``*.csv.gz``.
        arrays: of :meth:`Predictions.arrays`.
        class_names: the ``C`` names of the split.
        paths: files of the split's videos, by video number; empty when the queries are not numbered.
    """
    ways = arrays["scores"].shape[-1]
    header = ["episode", "video", "truth", "prediction"]
    header += [f"class_{i}" for i in range(ways)] + [f"score_{i}" for i in range(ways)]
    guess = arrays["scores"].argmax(-1)
    with gzip.open(path, "wt", newline="", compresslevel=3) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for e, number in enumerate(arrays["number"].tolist()):
            names = [class_names[c] for c in arrays["classes"][e]]
            for q, video in enumerate(arrays["video"][e].tolist()):
                name = paths[video] if video >= 0 and paths else ""
                scores = [f"{score:.6g}" for score in arrays["scores"][e, q].tolist()]
                writer.writerow([number, name, names[arrays["truth"][e, q]], names[guess[e, q]], *names, *scores])


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record so that an interruption leaves the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=2, default=str) + "\n")
    part.replace(path)


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the packages that numbers may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Phases:
    """Seconds spent in each named phase, and the peak memory up to its end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, dict[str, int]] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to ``phase``."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self.memory[phase] = peak_memory()
        self._last = now

    @contextmanager
    def measure(self, phase: str, device: torch.device) -> Iterator[None]:
        """Count the block to ``phase`` and what came before it to ``data``; waits for the device at its end."""
        self.lap("data")
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.lap(phase)

    def record(self) -> dict[str, Any]:
        """Seconds and peak memory by phase; ``data`` is reading and decoding as far as the others waited for it."""
        return {"seconds": {k: round(v, 3) for k, v in self.seconds.items()}, "peak_memory_mb": self.memory}


def peak_memory() -> dict[str, int]:
    """The most memory that this process has held so far, in MB: ``host``, and ``device`` when there is one."""
    memory: dict[str, int] = {}
    if sys.platform != "win32":
        import resource

        scale = 2**20 if sys.platform == "darwin" else 2**10
        memory["host"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)
    if torch.cuda.is_available():
        memory["device"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return memory


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
        **learner.result,
        "distinct_episodes": len(np.unique(np.concatenate(draw, axis=1), axis=0)),
        "data": data,
        "weights_sha256": weights_hash(learner.method.state_dict()),
        "encoder_sha256": learner.method.encoder.fingerprint(trained=True),
        "pixels": learner.method.encoder.pixels,
        "checkpoint": config.get("ckpt_path"),
        "config": config,
        "config_sha256": config_sha256,
        "commit": commit(),
        "versions": versions(),
        "processes": dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    target.mkdir(parents=True, exist_ok=True)
    part = target / ".episodes.csv.gz"
    write_rows(part, learner.rows, tuple(learner.result["class_names"]), list(datamodule.splits[split].paths))
    part.replace(target / "episodes.csv.gz")
    write_json(target / "results.json", record)
    return target


def own_folder(folder: Path, config_sha256: str) -> Path:
    """``folder``, or ``folder-2``, ``folder-3``, ... when results of another configuration stand there already."""
    for number in itertools.count(1):
        choice = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        record = choice / "results.json"
        if not record.is_file() or json.loads(record.read_text()).get("config_sha256") == config_sha256:
            return choice
    raise AssertionError("unreachable")


def weights_hash(state: dict[str, Tensor]) -> str:
    """sha256 hex over names, types and bytes of weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def commit() -> str | None:
    """The git commit of this code, with ``+`` when files differ from it; None when it is no checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    head, changed = (
        subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=False).stdout.strip()
        for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    return (head + ("+" if changed else "")) or None


def time_shares(result: dict[str, Any], videos: int) -> str:
    """One line: where the time of an evaluation went, and how many clips were encoded for how many videos."""
    seconds = {{"data": "decode"}.get(k, k): v for k, v in result["seconds"].items()}
    total = sum(seconds.values())
    shares = ", ".join(f"{name} {value / max(total, 1e-9):.0%}" for name, value in seconds.items())
    return f"{total:.1f} s: {shares}; {result['encoder_forwards']:,} clips encoded for {videos:,} videos"
