"""Results read again, and paired episode by episode: how sure is a difference?"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from episodes.words import pluralise
from fsar.evaluation.accuracy import Z_95, from_json, half_interval, show_half
from fsar.evaluation.cells import from_cell
from fsar.evaluation.comparing.significance import Bootstrap, bootstrap, bootstrap_clips, correct_holm, needed_units
from fsar.evaluation.marks import marks
from fsar.terminal.files.aliases import rename_classes


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

    def rows(self) -> dict[str, NDArray[Any]]:
        """Of every query, in the file's order: ``episode``, the ``truth``, its ``video``, and if it was ``right``."""
        with gzip.open(self.folder / "episodes.csv.gz", "rt", newline="") as file:
            rows = [{key: from_cell(cell) for key, cell in row.items()} for row in csv.DictReader(file)]
        kept = [(row["episode"], row["truth"], row["video"], row["truth"] == row["prediction"]) for row in rows]
        episode, truth, video, right = (np.array(column) for column in zip(*kept, strict=True))
        return {"episode": episode.astype(np.int64), "truth": truth, "video": video, "right": right.astype(float)}


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
        found += [Result(file.parent, read_record(file)) for file in files]
    return found


def read_record(file: Path) -> dict[str, Any]:
    """What a ``results.json`` holds.

    Raises:
        ValueError: when it is damaged, or no evaluation wrote it.
    """
    try:
        record: dict[str, Any] = rename_classes(from_json(file.read_text(encoding="utf-8")))
        missing = {"method", "accuracy", "interval_95", "episodes", "data"} - set(record)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error}): run `fsar test` again.") from error
    if missing:
        raise ValueError(f"{file} is no result of `fsar test`: it lacks {', '.join(sorted(missing))}.")
    return record


@dataclass(frozen=True)
class PairedResults:
    """Two results on the same episodes.

    Args:
        base: what is subtracted.
        result: from what.
        per_episode: ``(e)`` accuracy of ``result`` minus that of ``base``.
        over_classes: the bootstrap over classes and their clips of the same difference, None with one class.
    """

    base: Result
    result: Result
    per_episode: NDArray[np.float64]
    over_classes: Bootstrap | None

    @property
    def deviation(self) -> float:
        """Of one episode's difference."""
        return float(self.per_episode.std(ddof=1)) if len(self.per_episode) > 1 else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The mean over episodes, and half its 95 % interval."""
        return float(self.per_episode.mean()), half_interval(self.deviation, len(self.per_episode))

    @property
    def p(self) -> tuple[float, float]:
        """p-values of the difference by itself, over episodes and over classes; 1 where nothing can be said."""
        few = len(self.per_episode) < 2
        return 1.0 if few else bootstrap(self.per_episode).p, self.over_classes.p if self.over_classes else 1.0

    def describe(self, p: float, over_classes: float) -> str:
        """The difference in a line; both p-values are corrected for all differences that are looked at."""
        return f"{self.result.label} minus {self.base.label}: {self.tell(p, over_classes)}"

    def tell(self, p: float, over_classes: float) -> str:
        """How large it is and how sure, as :meth:`describe` says it."""
        (mean, interval), count = self.interval, len(self.per_episode)
        said = f"{100 * mean:+.2f} ± {show_half(interval)} points over the same {pluralise(count, 'episode')}"
        said += f", p {show_p(p)}"
        needed = needed_units(self.deviation, mean) if mean and count > 1 else None
        if p >= 0.05:
            said += ", no certain difference"
            said += f" (about {needed:,} episodes would tell so small a one)" if needed and needed > count else ""
        if self.over_classes is None:
            return said
        wide = self.over_classes
        said += f"; over other clips and classes {100 * wide.low:+.2f} to {100 * wide.high:+.2f}"
        said += f", p {show_p(over_classes)}"
        if over_classes >= 0.05 and wide.mean:
            classes = needed_units((wide.high - wide.low) / 2 / Z_95 * wide.units**0.5, wide.mean)
            said += f" ({wide.units} classes; about {classes:,} would tell)" if classes and classes > wide.units else ""
        return said


def show_p(p: float) -> str:
    """A p-value as it is read: three digits, and no smaller than the resamples can say."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def pair(a: Result, b: Result, mixed: bool = False) -> PairedResults:
    """``b - a``, query by query.

    Args:
        a: what is subtracted.
        b: from what.
        mixed: also when one of them is transductive, or reads the queries' labels, and the other is not.

    Raises:
        ValueError: when the episodes are not the same, one result lacks some of them, or they are not to be mixed.
    """
    if marks(a.record) != marks(b.record) and not mixed:
        told = [f"{one.label} is {marks(one.record) or 'neither transductive nor reads a label'}" for one in (a, b)]
        raise ValueError(
            f"{a.label} and {b.label} are not paired: {told[0]}, {told[1]}. They answer different questions; --mixed "
            "pairs them all the same."
        )
    ours, theirs = a.record["data"], b.record["data"]
    if same_episodes(a) != same_episodes(b):
        facts = ("benchmark", "split", "split_sha256", "ways", "shots", "queries", "seed", "episodes", "opposites")
        differ = [f"{fact} {ours[fact]} and {theirs[fact]}" for fact in facts if ours[fact] != theirs[fact]]
        raise ValueError(
            f"{a.label} and {b.label} cannot be paired, for they are not on the same episodes: "
            f"{'; '.join(differ) or 'their lists differ'}. Test both with the same data options."
        )
    rows, others = a.rows(), b.rows()
    if not all(np.array_equal(rows[name], others[name]) for name in ("episode", "truth", "video")):
        raise ValueError(f"{a.label} and {b.label} cannot be paired: one of them lacks episodes that the other has.")
    difference = others["right"] - rows["right"]
    _, episode = np.unique(rows["episode"], return_inverse=True)
    classes, of = np.unique(rows["truth"], return_inverse=True)
    _, clips = np.unique(rows["video"], return_inverse=True)
    if not clips.any():  # the queries are not numbered: each stands for a clip of its own
        clips = np.arange(len(of))
    wide = bootstrap_clips(difference, of, clips) if len(classes) > 1 else None
    return PairedResults(a, b, np.bincount(episode, difference) / np.bincount(episode), wide)


def paired_difference(a: Result, b: Result) -> tuple[float, float, int]:
    """Mean of accuracy ``b - a`` over episodes, half its 95 % interval, and how many; see :func:`pair`."""
    found = pair(a, b)
    return *found.interval, len(found.per_episode)


def same_episodes(result: Result) -> tuple[str, str]:
    """Equal for results on the same episodes: hashes of the split's videos and of the lists of their numbers."""
    return result.record["data"]["split_sha256"], result.record["data"]["episodes_sha256"]


def differences(results: Sequence[Result], mixed: bool = False) -> list[str]:
    """Paired differences of every result from the first on the same episodes; and why not, where there is no other.

    With ``mixed`` also those of a transductive method from one that is not, see :func:`pair`. Their p-values are
    corrected, see :func:`correct_pairs`.
    """
    lines: list[str | PairedResults] = []
    keys = [same_episodes(result) for result in results]
    for index, result in enumerate(results[1:], start=1):
        first = keys.index(keys[index])
        if first == index and keys.count(keys[index]) > 1:
            continue
        try:
            lines.append(pair(results[0 if first == index else first], result, mixed))
        except ValueError as error:
            lines.append(str(error))
    pairs = [line for line in lines if isinstance(line, PairedResults)]
    said = {id(one): one.describe(*p) for one, p in zip(pairs, correct_pairs(pairs), strict=True)}
    return [line if isinstance(line, str) else said[id(line)] for line in lines]


def correct_pairs(pairs: Sequence[PairedResults]) -> list[tuple[float, float]]:
    """p-values of differences over episodes, and over classes, each corrected for their number (Holm)."""
    episodes, classes = ([one.p[i] for one in pairs] for i in (0, 1))
    return list(zip(correct_holm(episodes), correct_holm(classes), strict=True))
