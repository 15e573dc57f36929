"""Hyper-parameters from validation-class episodes, a whole grid in one pass.

The release of Tip-Adapter and APE searches on the images it reports. Here the episodes handed in are of the validation
classes, which share no class with the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

from episodes.episode import Task
from fsar.method import Method, Scores

T = TypeVar("T", bound=Task)
Grid = Mapping[str, Sequence[float]]


def published_grid(
    beta: float = 7.0, alpha: float = 3.0, gamma: float | None = None, steps: tuple[int, int, int] = (200, 20, 20)
) -> dict[str, list[float]]:
    """The released search: evenly spaced from 0.1 (γ: from 0) up to, but without, the scale of each.

    Args:
        beta: scale of β.
        alpha: scale of α.
        gamma: scale of γ; None leaves it out (Tip-Adapter).
        steps: number of β, α and γ.
    """
    grid = {
        "beta": [0.1 + i * (beta - 0.1) / steps[0] for i in range(steps[0])],
        "alpha": [0.1 + i * (alpha - 0.1) / steps[1] for i in range(steps[1])],
    }
    return grid if gamma is None else {**grid, "gamma": [i * gamma / steps[2] for i in range(steps[2])]}


@torch.no_grad()
def tune(
    method: Method,
    episodes: Iterable[T],
    grid: Grid,
    score: Callable[[T], Scores],
    points_at_once: int = 2000,
) -> dict[str, float]:
    """Sets the method's hyper-parameters to the point of the grid that names most queries right; the first of equals.

    Each hyper-parameter becomes a tensor with an axis of its own in front of ``(e q n)``, so that one call of
    ``score`` gives the logits of many points and shares what they have in common.

    Args:
        method: its attributes named in ``grid`` must broadcast so, as those of Tip-Adapter, APE and the probe do.
        episodes: batches ``(e ...)`` of the validation classes.
        grid: ``{attribute: values}``; of equal points the one that comes first counts, the last name running fastest.
        score: of a batch of episodes, such as a look-up of stored parts followed by ``method.score``.
        points_at_once: bounds the memory.

    Returns:
        What was chosen.
    """
    shape = [len(values) for values in grid.values()]
    right = torch.zeros(shape, dtype=torch.int64)
    first, *rest = grid
    rows = max(1, points_at_once // prod(shape[1:]))
    for batch in episodes:
        for start in range(0, shape[0], rows):
            part = {first: grid[first][start : start + rows], **{name: grid[name] for name in rest}}
            _set(method, part, batch.classes.device)
            hits = score(batch).logits.argmax(-1) == batch.query_labels
            right[start : start + rows] += hits.flatten(len(shape)).sum(-1).cpu()
    place = torch.unravel_index(right.flatten().argmax(), shape)  # the first of equals
    chosen = {name: float(values[int(i)]) for (name, values), i in zip(grid.items(), place, strict=True)}
    for name, value in chosen.items():
        setattr(method, name, value)
    return chosen


def _set(method: Method, part: Grid, device: torch.device) -> None:
    """Open mesh: parameter ``i`` of ``m`` gets the shape ``1 ... g_i ... 1`` and three more axes for ``e q n``."""
    for i, (name, values) in enumerate(part.items()):
        if not isinstance(getattr(method, name, None), float | int | Tensor):
            raise ValueError(f"{type(method).__name__} has no hyper-parameter {name!r} to tune.")
        lead = [1] * len(part)
        lead[i] = len(values)
        setattr(method, name, torch.tensor(values, dtype=torch.float32, device=device).reshape(*lead, 1, 1, 1))
