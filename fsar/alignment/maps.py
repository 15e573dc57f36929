"""How frames were matched: the costs of all pairs, and the path, as a person or JSON can be shown them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from fsar.alignment.base import Alignment, CostAlignment
from fsar.alignment.direct import WeightedSum

Cells = tuple[tuple[int, int], ...]
"""Pairs (frame of the clip, frame of the class), counted from 0, in the order of time: neither ever runs backwards."""

SHUFFLES, CHANCE = 99, 0.05
"""How often the frames of the clip are shuffled to see whether their order matters, and which share of these may be
matched as cheaply as the clip itself before there is no clear order."""


@dataclass(frozen=True, eq=False)
class FrameMap:
    """How the frames of a clip were matched with those of a class.

    Args:
        metric: name of the metric.
        cost: ``(t u)`` costs of all pairs of frames: rows of the query, columns of the class's prototype (the mean of
            its clips, frame by frame).
        path: ``(t u)`` how much each pair is matched: the path, soft if the metric is; the sum of both directions for a
            metric of two.
        paths: the best path of each direction, by what it must visit; empty where there is no path to speak of, because
            the metric knows no order, or the clip with its frames shuffled is matched as cheaply.
        concentration: how far the metric's own (soft) path is concentrated on the best one: 1 when it is that path, 0
            when it is as spread out as if all pairs of frames were equally alike. None for a metric without order.
        members: of a weighted sum, the maps of all its parts that match frames.
        share: frames that a row or a column stands for, more than one over an encoder that makes a step of several.
    """

    metric: str
    cost: Tensor
    path: Tensor
    paths: Mapping[str, Cells] = field(default_factory=dict)
    concentration: float | None = None
    members: tuple[FrameMap, ...] = ()
    share: int = 1

    def with_share(self, share: int) -> FrameMap:
        """The same of steps that stand for so many frames."""
        return replace(self, share=share, members=tuple(one.with_share(share) for one in self.members))

    def describe(self, name: str) -> str:
        """Which frames of the clip were matched with which of the class ``name``, both counted from 1."""
        if not self.paths:
            return f"{self.metric} matches frames with those of {name} in no clear order"
        rows, columns = (name_steps(self.share * count, count) for count in self.cost.shape)
        between, next_one = ("-", " ") if self.share == 1 else (" with ", ", ")
        pairs = next_one.join(f"{rows[i]}{between}{columns[j]}" for i, j in list(self.paths.values())[-1])
        return f"{self.metric} matches frames {pairs} of {name} in order (concentration {self.concentration:.2f})"

    def record(self) -> dict[str, Any]:
        """What JSON can hold, numbers to four digits."""
        rounded = {name: getattr(self, name).double().numpy().round(4).tolist() for name in ("cost", "path")}
        found = {
            "metric": self.metric,
            **rounded,
            "concentration": None if self.concentration is None else round(self.concentration, 4),
            "paths": {visits: [list(cell) for cell in cells] for visits, cells in self.paths.items()},
            "frames_of_a_step": self.share,
        }
        return found | ({"members": [member.record() for member in self.members]} if self.members else {})


def frames_of_a_step(frames: int, steps: int) -> int:
    """How many frames each of so many steps stands for; 1 where a step is not a number of whole frames."""
    return frames // steps if frames % steps == 0 else 1


def name_steps(frames: int, steps: int) -> list[str]:
    """The frames that each step of a clip stands for, counted from 1.

    >>> name_steps(8, 4), name_steps(3, 3)
    (['1–2', '3–4', '5–6', '7–8'], ['1', '2', '3'])
    """
    share = frames_of_a_step(frames, steps)
    return [f"{i * share + 1}–{(i + 1) * share}" if share > 1 else f"{i + 1}" for i in range(steps)]


def alignment_maps(metric: Alignment, query: Tensor, prototypes: Tensor) -> list[list[FrameMap]]:
    """The maps of all queries ``(q t d)`` with all classes ``(n u d)``, ``[query][class]``; no class for a metric that
    matches no frames one to one. A weighted sum gives the map of one part that does, the first that knows order if
    any, with all such as members."""
    if isinstance(metric, WeightedSum):
        found = [alignment_maps(part, query, prototypes) for part in metric.parts]  # type: ignore[arg-type]
        parts = [maps for maps in found if len(maps) and maps[0]]
        together = [list(zip(*rows, strict=True)) for rows in zip(*parts, strict=True)] or [[] for _ in query]
        return [[_lead(maps) for maps in row] for row in together]
    if not isinstance(metric, CostAlignment):
        return [[] for _ in query]
    costs, soft = metric.cost(query, prototypes).detach().float().cpu(), metric.path(query, prototypes).float().cpu()
    return [[_map(metric, *pair) for pair in zip(*rows, strict=True)] for rows in zip(costs, soft, strict=True)]


def _lead(maps: tuple[FrameMap, ...]) -> FrameMap:
    """The first map with an order, else the first; with all of them as members."""
    return replace(next((one for one in maps if one.concentration is not None), maps[0]), members=maps)


def _map(metric: CostAlignment, cost: Tensor, soft: Tensor) -> FrameMap:
    """The map of one clip with one class, from ``(t u)``."""
    name, best = type(metric).__name__, metric.best_paths(cost)
    if not best:
        return FrameMap(name, cost, soft)
    hard = torch.stack(list(best.values())).sum(0)
    flat = _overlap(metric.assignment(torch.full_like(cost, float(cost.mean()))), hard)
    sure = 1.0 if flat > 1 - 1e-6 else min(max((_overlap(soft, hard) - flat) / (1 - flat), 0.0), 1.0)
    cells = {visits: tuple((i, j) for i, j in path.nonzero().tolist()) for visits, path in best.items()}
    return FrameMap(name, cost, soft, cells if ordered(metric, cost) else {}, sure)


def _overlap(soft: Tensor, hard: Tensor) -> float:
    """How often a soft path passes, on average, at the pairs of the best one; both ``(t u)``."""
    return float(torch.minimum(soft, hard).sum() / hard.sum())


def ordered(metric: CostAlignment, cost: Tensor) -> bool:
    """Whether the order of time matters: the best path through costs ``(t u)`` is cheaper than the best one of the same
    frames shuffled, but for one time in twenty."""
    if len(cost) < 4:
        return False  # too few ways to shuffle for one in twenty
    draw, still = torch.Generator().manual_seed(0), torch.arange(len(cost))
    drawn = [torch.randperm(len(cost), generator=draw) for _ in range(SHUFFLES)]
    orders = torch.stack([still, *(order for order in drawn if not torch.equal(order, still))])
    value = torch.stack([(cost[orders] * path).sum((-2, -1)) for path in metric.best_paths(cost[orders]).values()]).sum(
        0
    )
    as_cheap = int((value[1:] <= value[0] + 1e-6 * value[0].abs()).sum())
    return as_cheap + 1 <= CHANCE * len(orders)


def digits(values: Tensor) -> int:
    """Digits behind the point, 2 to 5, that tell the costs ``(t u)`` of near-alike clips apart."""
    spread = float(values.max() - values.min())
    return 2 if spread <= 0 else min(max(1 - math.floor(math.log10(spread)), 2), 5)
