"""What every protocol stands on: videos of some splits, each encoded once, and episodes of any shape scored on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from episodes.dataset import ClipLoader, collate_videos
from episodes.episode import IndexEpisode, VideoBatch
from episodes.features import with_cache
from episodes.sampler import EpisodeSampler, StridedSampler
from episodes.words import pluralise
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.evaluation.metrics import half_interval

Integers = NDArray[np.int64]
Values = NDArray[np.float64]


class Tasks(NamedTuple):
    """Episodes in numbers: classes ``(e n)``, support videos and labels ``(e s)``, queries and labels ``(e q)``."""

    classes: Integers
    support: Integers
    support_labels: Integers
    query: Integers
    query_labels: Integers


Score = Callable[[Tasks], Values]
"""Episodes to logits ``(e q n)``."""

Compare = Callable[[Tasks], "tuple[Tensor, Tensor] | None"]
"""Episodes to the frames that an alignment compares, see :meth:`fsar.method.Method.compared`."""


@dataclass(frozen=True)
class Ground:
    """Videos of one or several splits, one after the other.

    Args:
        labels: ``(v)`` class of every video; classes of later splits are numbered on.
        class_names: of all classes.
        parts: ``{split: (first class, classes)}``.
        score: of a method on their features.
        method: that one.
        compare: of that method; None where nothing can be asked.
        means: gives ``(v d)`` unit means of the videos' frames as the encoder gives them, where they were asked for.
    """

    labels: Integers
    class_names: tuple[str, ...]
    parts: dict[str, tuple[int, int]]
    score: Score
    method: Any = None
    compare: Compare | None = None
    means: Callable[[], Tensor] | None = None

    def classes_of(self, split: str) -> Integers:
        """Numbers of the classes of one split; of none that is not there."""
        first, count = self.parts.get(split, (0, 0))
        return np.arange(first, first + count)

    def small_classes(self, split: str, clips: int) -> dict[str, int]:
        """Classes of one split that have fewer clips, with how many they have."""
        sizes = np.bincount(self.labels, minlength=len(self.class_names))
        return {self.class_names[c]: int(sizes[c]) for c in self.classes_of(split) if sizes[c] < clips}

    def videos_of(self, split: str) -> Integers:
        """Numbers of the videos of one split."""
        return np.flatnonzero(np.isin(self.labels, self.classes_of(split)))


class Measure(NamedTuple):
    """A number of a protocol's table: what it is, its mean and half its 95 % interval over episodes, and how many.
    Where lists fix all clips there is one episode, and the interval is over its ``unit``, the clips."""

    what: str
    mean: float
    interval: float
    episodes: int
    unit: str = "episodes"


def summarise_row(what: str, values: Sequence[float] | NDArray[np.float64]) -> Measure:
    """The row of values, one for each episode; those that are NaN do not count."""
    x = np.asarray(values, dtype=np.float64)
    x = x[~np.isnan(x)]
    spread = float(x.std(ddof=1)) if len(x) > 1 else float("nan")
    return Measure(what, float(x.mean()) if len(x) else float("nan"), half_interval(spread, max(len(x), 1)), len(x))


def measure_accuracy(logits: NDArray[np.float64], labels: Integers) -> NDArray[np.float64]:
    """Share of the queries that are named right in each episode: ``(e q n)`` and ``(e q)`` to ``(e)``."""
    right: NDArray[np.float64] = (logits.argmax(-1) == labels).mean(-1)
    return right


def as_tasks(sampler: EpisodeSampler, episodes: int) -> Tasks:
    """The first episodes of a sampler."""
    classes, support, query = sampler.episodes(np.arange(episodes))
    shown, truth = (np.tile(x, (episodes, 1)) for x in (sampler.support_labels, sampler.query_labels))
    return Tasks(classes, support, shown, query, truth)


STAGES = {"train": "fit", "val": "validate", "test": "test"}
"""What sets a split of the data up."""


def in_split(ground: Ground, split: str, tasks: Tasks) -> Tasks:
    """Episodes that were drawn on the videos of one split alone, numbered among all."""
    mine = ground.videos_of(split)
    first = ground.parts[split][0]
    return tasks._replace(classes=tasks.classes + first, support=mine[tasks.support], query=mine[tasks.query])


def count_usable(ground: Ground, clips: int, ways: int) -> int:
    """How many classes have so many clips.

    Raises:
        ValueError: fewer than ways.
    """
    have = int((np.bincount(ground.labels, minlength=len(ground.class_names)) >= clips).sum())
    if have < ways:
        raise ValueError(
            f"{pluralise(ways, 'class')} of {pluralise(clips, 'clip')} are needed, but the split has {have}: lower "
            "--ways, --shots or --queries."
        )
    return have


def lay_ground(learner: Any, data: Any, splits: Sequence[str] = ("test",), means: bool = False) -> Ground:
    """All videos of these splits, to be encoded once each, when they are first asked about: what a protocol refuses is
    refused before.

    Args:
        learner: with the method, on its device; its trainer is that of the data.
        data: the data module.
        splits: of ``train``, ``val``, ``test`` and what was put beside them; all are read as in evaluation.
        means: keep those of the frames.
    """
    for name in splits:
        if name in STAGES:
            data.setup(STAGES[name])
    names = tuple(each for name in splits for each in data.splits[name].class_names)
    labels, parts, first = [], {}, 0
    for name in splits:
        split = data.splits[name]
        labels.append(np.asarray(split.labels, dtype=np.int64) + first)
        parts[name] = (first, len(split.class_names))
        first += len(split.class_names)

    @cache
    def bank() -> VideoBank:
        return encode_splits(learner, data, parts, names, means)

    def mean_frames() -> Tensor:
        return bank().mean_frames(torch.arange(sum(map(len, labels))), learner.device)

    return Ground(
        np.concatenate(labels),
        names,
        parts,
        lambda tasks: score_tasks(bank(), names, learner.device, tasks),
        learner.method,
        lambda tasks: compare_tasks(bank(), names, learner.device, tasks),
        mean_frames if means else None,
    )


@torch.no_grad()
def encode_splits(
    learner: Any, data: Any, parts: dict[str, tuple[int, int]], names: tuple[str, ...], means: bool
) -> VideoBank:
    """The videos of several splits, one after the other, see :class:`Ground`."""
    learner.eval()
    bank, count = VideoBank(learner.method, floor=False, means=means), 0
    for name, (first, _) in parts.items():
        for batch in read_videos(data, name):
            moved = replace(batch, videos=batch.videos + count, classes=batch.classes + first, class_names=names)
            bank.add(moved.to(learner.device))
        count += len(data.splits[name])
    bank.close()
    return bank


def read_videos(data: Any, name: str) -> Iterator[VideoBatch]:
    """All videos of a split as in evaluation, from stored or cached features where there are such."""
    split = data.splits[name]
    videos = range(len(split))
    if name in ("val", "test") or (name == "train" and data.features is not None):
        yield from with_cache(data, name, list(videos))
        return
    collate = partial(collate_videos, split, data.test_views)
    yield from ClipLoader(
        data.clips(split, several=True),
        data.video_batch,
        sampler=StridedSampler(videos),
        collate_fn=collate,
        **data.loading(),
    )


def as_episode(tasks: Tasks, names: tuple[str, ...], device: torch.device, first: int = 0) -> IndexEpisode:
    """Episodes as a bank is asked about them, the first of which has that number."""

    def tensor(x: Integers) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(device)

    return IndexEpisode(
        classes=tensor(tasks.classes),
        support_labels=tensor(tasks.support_labels),
        query_labels=tensor(tasks.query_labels),
        class_names=names,
        number=tensor(np.arange(first, first + len(tasks.classes))),
        support=tensor(tasks.support),
        query=tensor(tasks.query),
    )


@torch.no_grad()
def score_tasks(
    bank: VideoBank, names: tuple[str, ...], device: torch.device, tasks: Tasks, at_once: int = 64
) -> Values:
    """Logits ``(e q n)`` of episodes on the videos in a bank; labels of -1 are of no class."""
    found = []
    tasks = tasks._replace(query_labels=np.maximum(tasks.query_labels, 0))
    for start in range(0, len(tasks.classes), at_once):
        some = Tasks(*(x[start : start + at_once] for x in tasks))
        found.append(score_episodes(bank, as_episode(some, names, device, start)).logits.double().cpu().numpy())
    return np.concatenate(found)


@torch.no_grad()
def compare_tasks(
    bank: VideoBank, names: tuple[str, ...], device: torch.device, tasks: Tasks
) -> tuple[Tensor, Tensor] | None:
    """Frames of queries ``(e q t d)`` and prototypes, of a few episodes."""
    return bank.compared(as_episode(tasks._replace(query_labels=np.maximum(tasks.query_labels, 0)), names, device))
