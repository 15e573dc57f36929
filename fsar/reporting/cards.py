"""Which test episodes are worth looking at, and what is shown of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from fsar.alignment.maps import Cells, digits, name_steps
from fsar.inference.answer import Answer
from fsar.inference.explain import Stretch
from fsar.reporting.classes import Rows
from fsar.reporting.insight import Insight


@dataclass(frozen=True)
class Chosen:
    """A query of a test episode.

    Args:
        row: of ``episodes.csv.gz``.
        kind: why it was chosen.
    """

    row: int
    kind: str


@dataclass(frozen=True)
class Match:
    """A class that a query is compared with.

    Args:
        name: of the class.
        role: what the class is to the query, in words.
        shots: JPEG frames ``(k t)`` of its first support clips.
        cost: ``[t][u]``, None for a method that matches no frames; and ``path`` likewise.
        lines: the best path of each direction, by what it visits; empty where there is no path to speak of.
        concentration: see :class:`fsar.alignment.maps.FrameMap`.
        steps: of the class, over the frames of the query; nothing for a run that was not trained with steps.
        share: frames of the clip that a row or column stands for; more than one over an encoder of whole clips.
    """

    name: str
    role: str
    shots: list[list[str]]
    cost: list[list[float]] | None
    path: list[list[float]] | None
    lines: Mapping[str, Cells] = field(default_factory=dict)
    concentration: float | None = None
    steps: Sequence[Stretch] = ()
    share: int = 1

    def names(self, count: int) -> list[str]:
        """The frames that each of so many rows or columns stands for."""
        return name_steps(self.share * count, count)

    def middle(self, frames: list[str]) -> list[str]:
        """Of the frames of every step the middle one."""
        return frames[self.share // 2 :: self.share]

    @property
    def most(self) -> float:
        """How much the best pair is matched; 1 when none is, so that one can divide by it."""
        return max((max(row) for row in self.path or []), default=0.0) or 1.0

    @property
    def digits(self) -> int:
        """Behind the point of a cost."""
        return digits(Tensor(self.cost or [[0.0]]))

    def depth(self, share: float) -> float:
        """Strength of the colour of a matched pair."""
        return share / self.most


@dataclass(frozen=True)
class Card:
    """A query, what it was taken for and why.

    Args:
        kind: why it was chosen.
        episode: its number.
        truth: the class it shows.
        file: of the query.
        answer: what it was taken for.
        query: JPEG frames ``(t)``.
        matches: the classes that it is drawn against.
        metric: that made the maps, "" when there are none.
        more: a closer look, when it was asked for.
        heat: of it: what it is, and JPEG frames ``(t)``.
    """

    kind: str
    episode: int
    truth: str
    file: str
    answer: Answer
    query: list[str]
    matches: list[Match]
    metric: str
    more: Insight | None = None
    heat: Sequence[tuple[str, Sequence[str]]] = ()

    @property
    def ranking(self) -> tuple[tuple[str, float], ...]:
        """(class, number), the likeliest first."""
        return self.answer.ranking

    @property
    def right(self) -> bool:
        """Whether the likeliest class is the true one."""
        return self.ranking[0][0] == self.truth

    @property
    def few(self) -> list[int]:
        """Which frames stand for the query where there is little room: up to three, from its first to its last."""
        count = len(self.query)
        return sorted({0, count // 2, count - 1})

    def depth(self, cost: float) -> float:
        """Strength of the colour of a cost: 1 for the lowest of all the card's maps, 0 for the highest; the root
        spreads the low costs, between which the path is decided."""
        costs = [value for match in self.matches for row in match.cost or [] for value in row]
        low, high = min(costs), max(costs)
        return 1 - ((cost - low) / max(high - low, 1e-6)) ** 0.5


def choose(rows: Rows, count: int) -> list[Chosen]:
    """Three in eight the most clearly right, as many the most clearly wrong, the rest the closest calls.

    How clearly: the score of the true class above the best other. Within a kind no class is shown twice while others
    are left. The same rows give the same choice.
    """
    third = round(count * 3 / 8)
    margin, right = rows.margin, rows.margin > 0
    kinds = (
        ("clearly right", np.flatnonzero(right), -margin, third),
        ("clearly wrong", np.flatnonzero(~right), margin, third),
        ("a close call", np.arange(len(margin)), np.abs(margin), count - 2 * third),
    )
    return _take(kinds, rows)


def choose_together(several: Sequence[Rows], count: int) -> list[Chosen]:
    """Of queries that several runs were asked: three in four of those that some name right and others do not, the
    furthest apart first; the rest of those that none names right.

    How far: by the share of its own queries that a run is less sure of, since the scores of two methods are on scales
    of their own. What is left over after both kinds goes to queries that all name right, the least sure first.
    """
    margins = np.stack([rows.margin for rows in several])
    right = (margins > 0).sum(0)
    place = margins.argsort(-1, kind="stable").argsort(-1, kind="stable") / margins.shape[-1]
    some, none = np.flatnonzero((right > 0) & (right < len(several))), np.flatnonzero(right == 0)
    apart, none_count = np.ptp(place, axis=0), min(count - round(count * 3 / 4), len(none))
    kinds = (
        ("named right by some", some, -apart, count - none_count),
        ("named right by none", none, place.mean(0), none_count),
        ("named right by all", np.flatnonzero(right == len(several)), place.mean(0), count),
    )
    return _take(kinds, several[0])[:count]


def _take(kinds: Sequence[tuple[str, np.ndarray, np.ndarray, int]], rows: Rows) -> list[Chosen]:
    """Of every kind (name, candidates, key, how many) those of the lowest key, no class twice while others are left."""
    taken: dict[int, str] = {}
    for kind, candidates, key, wanted in kinds:
        order = candidates[np.argsort(key[candidates], kind="stable")].tolist()
        shown: set[str] = set()
        first: list[int] = []
        later: list[int] = []
        for row in order:
            if row in taken:
                continue
            name = rows.classes[row, rows.truth[row]]
            (later if name in shown else first).append(row)
            shown.add(name)
        taken |= dict.fromkeys((first + later)[:wanted], kind)
    return [Chosen(row, kind) for row, kind in taken.items()]
