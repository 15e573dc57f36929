"""What training gave on several divisions of the classes: paired gains, their intervals over episodes and divisions.

The interval over episodes takes the clips and classes for granted. That over divisions, see
:mod:`fsar.evaluation.comparing.over_splits`, says something of other classes: where there are few, it is the wider
one, and the one to believe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from episodes.files import write_atomically
from fsar.evaluation.accuracy import half_interval
from fsar.evaluation.comparing.over_splits import summarise_splits
from fsar.ranking.trial import Trial


@dataclass(frozen=True)
class Gain:
    """A head on one benchmark, all divisions together; accuracies in %.

    Args:
        before: untrained.
        after: trained.
        over_episodes: half the 95 % interval of the paired gain over all episodes.
        over_divisions: over the divisions; NaN for one.
        divisions: how many.
        trains: whether there is something to train.
    """

    before: float
    after: float
    over_episodes: float
    over_divisions: float
    divisions: int
    trains: bool = True

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Gain:
        """That of the trials of a head, one for each division."""
        before, after = (np.concatenate([getattr(each, name) for each in trials]) for name in ("before", "after"))
        gains, count = after - before, len(trials)
        spread = float("nan")
        if count > 1:
            spread = summarise_splits([float((x.after - x.before).mean()) for x in trials], trials[0].share).interval
        episodes = half_interval(float(gains.std(ddof=1)), len(gains))
        return cls(100 * before.mean(), 100 * after.mean(), 100 * episodes, 100 * spread, count, trials[0].weights > 0)

    def __str__(self) -> str:
        """``before → after, gain ± over episodes (± over divisions)``; bold where neither interval holds 0."""
        gain = self.after - self.before
        if not self.trains:
            return f"{self.before:.1f}"
        sure = abs(gain) > self.over_episodes and abs(gain) > self.over_divisions
        told = f"**{gain:+.1f}**" if sure else f"{gain:+.1f}"
        spread = "" if np.isnan(self.over_divisions) else f" (± {self.over_divisions:.1f})"
        return f"{self.before:.1f} → {self.after:.1f}, {told} ± {self.over_episodes:.1f}{spread}"


def write_trial(file: Path, trial: Trial) -> None:
    """Keep a trial, with its accuracies by episode."""
    facts = {**vars(trial), "before": trial.before.tolist(), "after": trial.after.tolist()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as part:
        part.write_text(json.dumps(facts) + "\n")


def read_trial(file: Path) -> Trial:
    """What :func:`write_trial` kept."""
    facts = json.loads(file.read_text())
    return Trial(**{**facts, "before": np.array(facts["before"]), "after": np.array(facts["after"])})


def gain_table(found: Mapping[str, Mapping[str, Sequence[Trial]]]) -> str:
    """Markdown: a row for each head, a column for each benchmark, and what the head costs.

    Args:
        found: ``{benchmark: {head: trials}}``.
    """
    heads = list(dict.fromkeys(head for some in found.values() for head in some))
    columns = ["head", "trained weights", *found, "ms, training episode", "ms, test episode", "kept for a gradient, MB"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for head in heads:
        trials = [trial for some in found.values() for trial in some.get(head, ())]
        cells = [head, f"{trials[0].weights:,}"]
        cells += [str(Gain.of(some[head])) if some.get(head) else "" for some in found.values()]
        trained = [1000 * trial.train_seconds for trial in trials if trial.train_seconds]
        cells += [f"{np.median(trained):.0f}" if trained else "–"]
        cells += [f"{1000 * np.median([trial.test_seconds for trial in trials]):.1f}"]
        cells += [f"{max(trial.kept_bytes for trial in trials) / 1e6:.0f}" if trained else "–"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
