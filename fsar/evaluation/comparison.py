"""Results read again, and paired episode by episode: how sure is a difference?"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsar.evaluation.metrics import half_interval
from fsar.terminal.aliases import rename_classes


@dataclass(frozen=True)
class Result:
    """One evaluation.

    Args:
        folder: of ``results.json`` and ``episodes.csv.gz``.
        record: what ``results.json`` holds.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """``<run>`` of ``<run>/results/<setting>``, else the folder itself."""
        return str(self.folder.parent.parent if self.folder.parent.name == "results" else self.folder)

    @property
    def label(self) -> str:
        """The run and what was evaluated of it."""
        return f"{self.name} {self.folder.name}"

    def per_episode(self) -> dict[int, float]:
        """Share of queries named right, by episode number."""
        right: dict[int, list[bool]] = {}
        with gzip.open(self.folder / "episodes.csv.gz", "rt", newline="") as file:
            for row in csv.DictReader(file):
                right.setdefault(int(row["episode"]), []).append(row["truth"] == row["prediction"])
        return {number: float(np.mean(hits)) for number, hits in right.items()}


def find(paths: Sequence[Path]) -> list[Result]:
    """The results in these folders, in their order.

    Raises:
        FileNotFoundError: when there is none in one of them.
    """
    found = []
    for path in paths:
        below = sorted(path.glob("results.json")) or sorted(path.glob("results/*/results.json"))
        files = [path] if path.is_file() else below
        if not files:
            raise FileNotFoundError(f"{path} holds no results.json; `fsar test --run {path}` writes it.")
        found += [Result(file.parent, read(file)) for file in files]
    return found


def read(file: Path) -> dict[str, Any]:
    """What a ``results.json`` holds.

    Raises:
        ValueError: when it is damaged, or no evaluation wrote it.
    """
    try:
        record: dict[str, Any] = rename_classes(json.loads(file.read_text()))
        missing = {"method", "accuracy", "interval_95", "episodes", "data"} - set(record)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error}): run `fsar test` again.") from error
    if missing:
        raise ValueError(f"{file} is no result of `fsar test`: it lacks {', '.join(sorted(missing))}.")
    return record


def paired_difference(a: Result, b: Result) -> tuple[float, float, int]:
    """Mean of accuracy ``b - a`` over episodes, half its 95 % interval, and the number of episodes.

    Raises:
        ValueError: when the episodes are not the same.
    """
    ours, theirs = a.record["data"], b.record["data"]
    if same_episodes(a) != same_episodes(b):
        facts = ("benchmark", "split", "split_sha256", "ways", "shots", "queries", "seed", "episodes", "opposites")
        differ = [f"{fact} {ours[fact]} and {theirs[fact]}" for fact in facts if ours[fact] != theirs[fact]]
        raise ValueError(
            f"{a.label} and {b.label} cannot be paired, for they are not on the same episodes: "
            f"{'; '.join(differ) or 'their lists differ'}. Test both with the same data options."
        )
    left, right = a.per_episode(), b.per_episode()
    if left.keys() != right.keys():
        raise ValueError(f"{a.label} and {b.label} cannot be paired: one of them lacks episodes that the other has.")
    difference: NDArray[np.float64] = np.array([right[number] - left[number] for number in sorted(left)])
    spread = difference.std(ddof=1) if len(difference) > 1 else float("nan")
    return float(difference.mean()), half_interval(float(spread), len(difference)), len(difference)


def same_episodes(result: Result) -> tuple[str, str]:
    """Equal for results on the same episodes: hashes of the split's videos and of the lists of their numbers."""
    return result.record["data"]["split_sha256"], result.record["data"]["episodes_sha256"]


def differences(results: Sequence[Result]) -> list[str]:
    """Paired differences of every result from the first on the same episodes; and why not, where there is no other."""
    lines = []
    keys = [same_episodes(result) for result in results]
    for index, result in enumerate(results[1:], start=1):
        first = keys.index(keys[index])
        if first == index and keys.count(keys[index]) > 1:
            continue
        base = results[0 if first == index else first]
        try:
            mean, interval, count = paired_difference(base, result)
        except ValueError as error:
            lines.append(str(error))
            continue
        sure = "" if abs(mean) > interval else ", no certain difference"
        lines.append(
            f"{result.label} minus {base.label}: {100 * mean:+.2f} ± {100 * interval:.2f} points over the same "
            f"{count:,} episodes{sure}"
        )
    return lines
