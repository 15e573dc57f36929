"""Comparisons whose prototypes depend on the query, a bounded number of queries at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Clips = dict[str, Tensor]
"""Named tensors of some clips, each with the same leading axes."""

Compare = Callable[[Clips, Clips], Clips]
"""Queries ``(... q *)`` and supports ``(... s *)`` to named results ``(... q *)``."""


def chunk_size(asked: int | None, device: torch.device, on_cpu: int) -> int:
    """Queries at a time: as asked for, else as many as fit the cache of a CPU, and 256 elsewhere."""
    return asked if asked is not None else on_cpu if device.type == "cpu" else 256


def spread(clips: Clips, axes: int, lead: torch.Size) -> Clips:
    """Tensors with ``axes`` leading axes as if they had those of ``lead``; nothing is copied."""
    return {name: x.expand(*lead, *x.shape[axes:]) for name, x in clips.items()}


def over_queries(compare: Compare, query: Clips, support: Clips, axes: int, size: int) -> Clips:
    """``compare(query, support)``, of at most ``size`` queries of all episodes together at a time.

    What ``compare`` makes for one query, such as its own prototypes of every class, is then never there for all of
    them. Memory is bounded where no gradient is wanted; with one, the graph keeps what every chunk made.

    Args:
        compare: treats queries and episodes independently of each other.
        query: ``(... q *)``.
        support: ``(... s *)`` with the same leading axes.
        axes: how many leading axes ``...`` stands for.
        size: a whole number from 1.

    Returns:
        Named results ``(... q *)``.

    Raises:
        ValueError: for a size below 1.
    """
    if size < 1:
        raise ValueError(f"queries_per_chunk must be at least 1, found {size}.")
    shape = next(iter(query.values())).shape[: axes + 1]
    if math.prod(shape) <= size:
        return compare(query, support)
    axis = next((i for i, count in enumerate(shape[:-1]) if count > 1), axes)  # episodes first, then queries
    step = max(1, size * shape[axis] // math.prod(shape))
    pieces = []
    for start in range(0, shape[axis], step):
        part = slice(start, start + step)
        own = {name: x[(slice(None),) * axis + (part,)] for name, x in query.items()}
        others = {name: x[(slice(None),) * axis + (part,)] for name, x in support.items()} if axis < axes else support
        pieces.append(over_queries(compare, own, others, axes, size))
    return {name: torch.cat([piece[name] for piece in pieces], dim=axis) for name in pieces[0]}
