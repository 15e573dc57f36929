"""Time, memory and disk of a table, before it starts: unit costs of this machine times how often each is paid."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from episodes.benchmarks import definition
from fsar.reproduction.checks import Checked
from fsar.reproduction.costs import Costs, measure_costs, sample_split
from fsar.reproduction.recipes import Asked

LIBRARIES = 2**30
"""Bytes of a process before it has read anything, roughly."""
ROW = 70
"""Bytes of a query in the rows of a result, roughly."""


@dataclass(frozen=True)
class Step:
    """What a work will take: seconds of its stages, bytes at its peak and on disk, and the weights that it trains."""

    name: str
    recipe: str
    shots: tuple[int, ...]
    trained: int
    episodes: int
    training: float
    validation: float
    test: float
    memory: int
    disk: int
    costs: Costs

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return self.training + self.validation + self.test


@dataclass(frozen=True)
class Plan:
    """Of a table.

    Args:
        benchmark: its name.
        videos: of each split.
        steps: its works.
        free: bytes on the disk of the table.
        machine: in words.
        rooted: whether reading was measured on the data set.
        measured: seconds that this took.
    """

    benchmark: str
    videos: Mapping[str, int]
    steps: tuple[Step, ...]
    free: int
    machine: str
    rooted: bool
    measured: float

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {split}" for split, count in self.videos.items())
        clip = "its own videos" if self.rooted else "a video drawn here (no --root)"
        lines = [f"{self.benchmark}: {counts} videos; {self.machine}; reading measured on {clip}", ""]
        head = (
            "work",
            "recipe",
            "shots",
            "weights",
            "episodes",
            "train",
            "validate",
            "test",
            "in all",
            "memory",
            "disk",
        )
        body = [
            (
                step.name,
                step.recipe,
                " ".join(map(str, step.shots)),
                f"{step.trained:,}",
                f"{step.episodes:,}",
                *map(duration, (step.training, step.validation, step.test, step.seconds)),
                *map(size, (step.memory, step.disk)),
            )
            for step in self.steps
        ]
        total = sum(step.seconds for step in self.steps)
        disk = sum(step.disk for step in self.steps)
        body.append(("all", "", "", "", "", "", "", "", duration(total), "", size(disk)))
        widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *body]
        ]
        lines += [
            "",
            f"Estimates from a measurement of {self.measured:.0f} s on this machine, one process after another:",
        ]
        for step in {step.costs: step for step in reversed(self.steps)}.values():
            costs = step.costs
            each = f"reading {costs.read:.3g} s, encoding {costs.encode:.3g} s, training {costs.train:.3g} s a clip"
            lines.append(
                f"  {step.name}: {each}; scoring {1000 * costs.score:.3g} ms an episode; {size(costs.kept)} a video"
            )
        if (busy := os.getloadavg()[0]) > (os.cpu_count() or 1):
            lines.append(f"Others compute here, too (load {busy:.0f} on {os.cpu_count()} cores); that is not counted.")
        lines.append(f"Free on the disk of the table: {size(self.free)}" + self.warning(disk))
        return "\n".join(lines)

    def warning(self, disk: int) -> str:
        """What is said when the disk will not do."""
        return ", too little: name another folder with -o" if disk > self.free else ""


def make_plan(asked: Asked, found: Iterable[Checked], out: Path, views: int = 0, seconds: float = 60.0) -> Plan:
    """Measure every work that differs in method, and count.

    Args:
        asked: by the command line.
        found: the works, built one at a time.
        out: folder of the table.
        views: stored of every training video; 0 for training on pixels.
        seconds: of the measurement, in all; more where the least does not fit in it.
    """
    start, known, steps = time.perf_counter(), dict[str, Costs](), list[Step]()
    videos: dict[str, int] = dict(definition(asked.benchmark).videos)
    with tempfile.TemporaryDirectory() as folder:
        for one in found:
            if asked.root is not None:
                benchmark = one.data.load()
                videos = {split: len(benchmark.split(split)) for split in videos}
            if one.work.method not in known:
                split = sample_split(one.data, Path(folder), asked.root is not None)
                known[one.work.method] = measure_costs(one, split, seconds / (2 + len(known)))
            steps.append(count_step(one, videos, known[one.work.method], views))
    free = shutil.disk_usage(next(path for path in (out, *out.absolute().parents) if path.exists())).free
    spent = time.perf_counter() - start
    return Plan(asked.benchmark, videos, tuple(steps), free, machine(), asked.root is not None, spent)


def count_step(found: Checked, videos: Mapping[str, int], costs: Costs, views: int = 0) -> Step:
    """How often everything is paid in a work."""
    work, data, gpu = found.work, found.data, torch.cuda.is_available()
    episodes = found.episodes
    clips = episodes * data.ways * (data.shots + data.queries)
    workers = max(1, data.count_workers(1))

    def pay(count: int, compute: float) -> float:
        """Seconds for clips that are read and then computed on: side by side beside a GPU, else in turn."""
        return max(count * costs.read / workers, count * compute) if gpu else count * (costs.read / workers + compute)

    epochs = -(-episodes // data.train_episodes) if videos.get("val") else 0
    validated = min(videos.get("val", 0), data.val_episodes * (data.test_ways or 5) * (data.shots + data.test_queries))
    tested = min(videos["test"], data.test_episodes * (data.test_ways or 5) * (max(work.shots) + data.test_queries))
    training = pay(clips, costs.train)
    stored = 0
    if views and found.stored and found.trained:  # read and encoded once; what is trained then costs little
        once = videos["train"] * views + videos.get("val", 0) + videos["test"]
        training, stored = pay(once, costs.encode) + clips * max(costs.train - costs.encode, 0), once * costs.kept
    validation = epochs * (pay(validated, costs.encode) + data.val_episodes * costs.score)
    test = pay(tested, costs.encode) + len(work.shots) * data.test_episodes * costs.score
    weights = sum(weight.nbytes for weight in found.learner.parameters())
    trained = 4 * found.trained
    batch = data.ways * (data.shots + data.queries) * data.episodes_per_batch
    peak = max(3 * trained + costs.saved * batch if found.trained else 0, costs.kept * tested)
    rows = len(work.shots) * data.test_episodes * (data.test_ways or 5) * data.test_queries * ROW
    return Step(
        name=work.name,
        recipe=work.files[-1].removeprefix("method/"),
        shots=work.shots,
        trained=found.trained,
        episodes=episodes,
        training=training,
        validation=validation,
        test=test,
        memory=LIBRARIES + weights + peak,
        disk=(3 * 3 * trained if found.trained else 0) + rows + stored,
        costs=costs,
    )


def machine() -> str:
    """This one, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {os.cpu_count()} CPU cores"
    return f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} of them computing, no GPU"


def duration(seconds: float) -> str:
    """In words.

    >>> duration(30), duration(4000), duration(400_000)
    ('30 s', '1.1 h', '4.6 days')
    """
    for least, unit, word in ((172_800, 86_400, "days"), (3600, 3600, "h"), (60, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:.1f} {word}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """Bytes in words.

    >>> size(3_000_000)
    '3.0 MB'
    """
    for power, word in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {word}"
    return f"{count} bytes"
