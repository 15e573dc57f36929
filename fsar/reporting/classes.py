"""Which classes are easy, which are hard, and which are taken for which."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fsar.evaluation.accuracy import Z_95
from fsar.evaluation.cells import from_cell


@dataclass(frozen=True)
class Share:
    """A share of ``count`` cases with its Wilson interval: within 0 and 1, and honest at both ends.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """

    value: float
    count: float

    @property
    def ends(self) -> tuple[float, float]:
        """Of the 95 % interval."""
        z, p, n = Z_95, self.value, self.count
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, min(middle - half, p)), min(1.0, max(middle + half, p))


@dataclass(frozen=True)
class Rows:
    """``episodes.csv.gz`` as arrays, one row per query.

    Args:
        episode: ``(r)`` numbers of the episodes.
        video: ``(r)`` files of the queries, relative to the split's folder; "" when they were not numbered.
        classes: ``(r n)`` names on offer.
        truth: ``(r)`` column of the true class.
        scores: ``(r n)``.
    """

    episode: np.ndarray
    video: np.ndarray
    classes: np.ndarray
    truth: np.ndarray
    scores: np.ndarray

    @property
    def guess(self) -> np.ndarray:
        """``(r)`` column of the highest score."""
        return self.scores.argmax(-1)

    @property
    def margin(self) -> np.ndarray:
        """``(r)`` score of the true class above the best other: negative where the answer is wrong."""
        own = np.take_along_axis(self.scores, self.truth[:, None], -1)
        others = self.scores.copy()
        np.put_along_axis(others, self.truth[:, None], -np.inf, -1)
        return own[:, 0] - others.max(-1)


def read_rows(path: Path) -> Rows | None:
    """The rows of a result, None when the file is not there."""
    if not path.is_file():
        return None
    with gzip.open(path, "rt", newline="") as file:
        header, *rows = csv.reader(file)
    ways = sum(name.startswith("class_") for name in header)
    ways_end = 4 + ways
    names = [[*row[:1], *map(from_cell, row[1:ways_end]), *row[ways_end:]] for row in rows]
    table = np.array(names, dtype=object).reshape(-1, len(header))
    classes = table[:, 4 : 4 + ways]
    truth = (classes == table[:, 2:3]).argmax(-1)
    scores = table[:, 4 + ways :].astype(np.float64)
    return Rows(table[:, 0].astype(np.int64), table[:, 1], classes, truth, scores)


def by_class(record: Mapping[str, Any]) -> list[tuple[str, Share]]:
    """Accuracy of every class that was asked for, the easiest first.

    Queries of one class in one episode share their support clips, so an episode counts once for each class.
    """
    confusion = np.array(record["confusion"])
    seen = confusion.sum(1)
    per_episode = record["data"]["queries"]
    shares = {
        name: Share(confusion[c, c] / seen[c], seen[c] / per_episode)
        for c, name in enumerate(record["class_names"])
        if seen[c]
    }
    return sorted(shares.items(), key=lambda item: (-item[1].value, item[0]))


def confusion_shares(record: Mapping[str, Any]) -> list[list[float]]:
    """``[truth][answer]``: share of the queries of a class; a row of zeros for a class that was never asked for."""
    counts = np.array(record["confusion"], dtype=np.float64)
    return (counts / np.maximum(counts.sum(1, keepdims=True), 1)).tolist()


def confused(record: Mapping[str, Any], rows: Rows | None, most: int = 6) -> list[tuple[str, str, Share]]:
    """The pairs (truth, answer) that are confused most often: among queries of the one class, how often the other was
    the answer where it was on offer; without rows, among all of the class."""
    names, counts = record["class_names"], np.array(record["confusion"])
    offered = np.broadcast_to(counts.sum(1, keepdims=True), counts.shape).copy()
    if rows is not None:
        index = {name: c for c, name in enumerate(names)}
        classes = np.vectorize(index.__getitem__, otypes=[np.int64])(rows.classes)
        truth = np.take_along_axis(classes, rows.truth[:, None], -1)
        offered = np.zeros_like(counts)
        np.add.at(offered, (np.broadcast_to(truth, classes.shape), classes), 1)
    pairs = [
        (names[a], names[b], Share(counts[a, b] / offered[a, b], offered[a, b] / record["data"]["queries"]))
        for a in range(len(names))
        for b in range(len(names))
        if a != b and counts[a, b]
    ]
    return sorted(pairs, key=lambda pair: (-pair[2].value, pair[0], pair[1]))[:most]
