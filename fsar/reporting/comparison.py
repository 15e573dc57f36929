"""Several runs side by side, on the settings that they share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fsar.evaluation.comparing.apart import tell_apart
from fsar.evaluation.comparing.comparison import Result, correct_pairs, differences, pair, same_episodes
from fsar.evaluation.marks import WORDS, marks
from fsar.reporting.cards import Chosen, choose_together
from fsar.reporting.classes import Share, by_class, read_rows
from fsar.reporting.runs import ReportedRun, dig, setting


@dataclass(frozen=True)
class Line:
    """A result of a run.

    Args:
        number: of the run, from 0.
        run: whose result it is.
        result: on the episodes of its block.
        difference: from the first line of the block, as (mean, half its 95 % interval); None for the first.
        differs: what tells it apart from the other lines of the block.
        sure: the difference in words, with p-values that are corrected for all lines of the block; "" for the first.
    """

    number: int
    run: ReportedRun
    result: Result
    difference: tuple[float, float] | None
    differs: str
    sure: str = ""

    @property
    def certain(self) -> bool:
        """Whether the interval of the difference leaves out zero."""
        return self.difference is not None and abs(self.difference[0]) > self.difference[1]


@dataclass(frozen=True)
class ComparedRuns:
    """Results of several runs on the very same episodes."""

    setting: str
    episodes: int
    lines: list[Line]

    def classes(self) -> list[tuple[str, list[Share]]]:
        """Accuracy by class, a share for each line; the first line's easiest class first."""
        tables = [dict(by_class(line.result.record)) for line in self.lines]
        return [(name, [table[name] for table in tables]) for name in tables[0]]

    @property
    def ends(self) -> tuple[float, float]:
        """Of the axis that all differences and zero are drawn on."""
        pairs = [line.difference for line in self.lines if line.difference]
        low, high = min([0.0] + [d - half for d, half in pairs]), max([0.0] + [d + half for d, half in pairs])
        return low, max(high, low + 0.01)

    def place(self, difference: float) -> float:
        """Where a difference lies on that axis, from 0 to 1."""
        low, high = self.ends
        return (difference - low) / (high - low)


def compare(runs: Sequence[ReportedRun]) -> tuple[list[ComparedRuns], list[str]]:
    """A block for every list of episodes that two runs or more were tested on; when there is none, sentences why."""
    found: dict[tuple[str, str], list[tuple[int, Result]]] = {}
    for number, run in enumerate(runs):
        for result in run.results:
            data = result.record["data"]
            found.setdefault((data["split_sha256"], data["episodes_sha256"]), []).append((number, result))
    shared = [some for some in found.values() if len({number for number, _ in some}) > 1]
    if not shared:
        first = [run.results[0] for run in runs if run.results]
        without = [
            f"{run.name} has no results: `fsar test --run {run.typed}` writes them." for run in runs if not run.results
        ]
        return [], without + differences(first)
    return [compare_on_same(runs, some) for some in shared], []


def over_encoders(blocks: Sequence[ComparedRuns]) -> list[tuple[int, list[Result]]]:
    """For each run its results, one in every block, where they are one method over several encoders; else nothing."""
    numbers = [[line.number for line in block.lines] for block in blocks]
    if not blocks or any(each != numbers[0] for each in numbers) or len(set(numbers[0])) < len(numbers[0]):
        return []
    encoders = {line.result.record["encoder_sha256"] for line in blocks[0].lines}
    methods = {_but_encoder(line.result.record) for block in blocks for line in block.lines}
    if len(encoders) < len(numbers[0]) or len(methods) > 1:
        return []
    return [(number, [block.lines[i].result for block in blocks]) for i, number in enumerate(numbers[0])]


def _but_encoder(record: Mapping[str, Any]) -> str:
    """The method with all options but its encoder."""
    method = dict(dig(record["config"], "model.method") or {})
    options = {key: value for key, value in (method.get("init_args") or {}).items() if key != "encoder"}
    return json.dumps([record["method"], options], sort_keys=True, default=str)


def compare_on_same(runs: Sequence[ReportedRun], some: Sequence[tuple[int, Result]]) -> ComparedRuns:
    """The results with their paired differences from the first."""
    base = some[0][1]
    apart = tell_apart([result.record for _, result in some])
    pairs = {
        i: pair(base, result)
        for i, (_, result) in enumerate(some)
        if i
        and all((one.folder / "episodes.csv.gz").is_file() for one in (base, result))
        and marks(base.record) == marks(result.record)  # else they answer different questions
    }
    sure = {i: pairs[i].tell(*p) for i, p in zip(pairs, correct_pairs(list(pairs.values())), strict=True)}
    lines = []
    for i, ((number, result), differs) in enumerate(zip(some, apart, strict=True)):
        difference = pairs[i].interval if i in pairs else None
        lines.append(Line(number, runs[number], result, difference, differs, sure.get(i, "")))
    words = {**base.record, "inference": None, **dict.fromkeys(WORDS, False)}  # the lines say theirs
    return ComparedRuns(setting(words), base.record["episodes"], lines)


def share_episodes(runs: Sequence[ReportedRun], count: int) -> dict[int, list[Chosen]]:
    """The same queries for all of the runs (by number) whose first test was on the episodes of the first run's; none
    when there are no two."""
    asked = [(number, run.results[0]) for number, run in enumerate(runs) if run.results]
    alike = [(number, result) for number, result in asked if same_episodes(result) == same_episodes(asked[0][1])]
    files = {number: read_rows(result.folder / "episodes.csv.gz") for number, result in alike}
    rows = {number: found for number, found in files.items() if found is not None}
    if len(rows) < 2 or count == 0:
        return {}
    first = next(iter(rows.values()))
    rows = {number: found for number, found in rows.items() if np.array_equal(found.video, first.video)}
    return dict.fromkeys(rows, choose_together(list(rows.values()), count)) if len(rows) > 1 else {}
