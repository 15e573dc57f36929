"""How sure a difference is, and over what: bootstrap over episodes, over classes and over clips; Holm; power.

The interval beside an accuracy says how far it would move with other episodes of the same clips. Whether it would hold
for other classes, or other clips, is another question, and for small sets the one that matters: resampling classes, and
clips inside them, answers it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
"""Resamples of every bootstrap; a p-value is never below one over them."""

Z_POWER = 1.959964 + 0.841621
"""Normal quantiles of a two-sided test at 5 % that finds a true difference in 80 % of the cases."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """A mean and what resampling its units says of it.

    Args:
        mean: of all units.
        low: 2.5 % of the resampled means lie below.
        high: 2.5 % lie above.
        p: two-sided: how often a resampled mean lies as far from ``mean`` as 0 does.
        units: how many were resampled.
    """

    mean: float
    low: float
    high: float
    p: float
    units: int


def resample(values: Values, seed: int = 0, draws: int = DRAWS) -> Values:
    """Means ``(draws)`` of resamples, with replacement, of values ``(u)``, or of their rows' means over ``(u *)``."""
    generator, count = np.random.default_rng(seed), len(values)
    rows = max(1, 2**22 // count)
    means = [
        values[generator.integers(count, size=(min(rows, draws - start), count))].mean(1)
        for start in range(0, draws, rows)
    ]
    return np.concatenate(means)


def bootstrap(values: Sequence[float] | Values, seed: int = 0, draws: int = DRAWS) -> Bootstrap:
    """Bootstrap of the mean of values ``(u)``, such as paired differences of episodes or of classes.

    Raises:
        ValueError: for fewer than two values, of which nothing can be said.

    Examples:
        >>> sure = bootstrap([0.2, 0.3, 0.25, 0.2, 0.3] * 10)
        >>> round(sure.mean, 2), sure.p < 0.01, sure.low > 0.2
        (0.25, True, True)
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"a bootstrap resamples two values at least, found {x.shape}.")
    return _summarise(float(x.mean()), resample(x, seed, draws), len(x))


def bootstrap_clips(values: Values, classes: NDArray[np.int64], clips: NDArray[np.int64], seed: int = 0) -> Bootstrap:
    """Bootstrap over classes, and over the clips inside each: would it hold for other classes and clips?

    Args:
        values: ``(q)``, of queries: right or wrong, or a paired difference.
        classes: ``(q)``, the true class of each.
        clips: ``(q)``, the video of each; a video's values are averaged first.

    Raises:
        ValueError: for queries of fewer than two classes.
    """
    names, of = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"a bootstrap over classes needs queries of two classes at least, found {len(names)}.")
    per_class = []
    for c in range(len(names)):
        mine = of == c
        _, clip = np.unique(clips[mine], return_inverse=True)
        per_class.append(np.bincount(clip, values[mine]) / np.bincount(clip))
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(names), size=(DRAWS, len(names)))
    means = np.empty(chosen.shape)
    for c, x in enumerate(per_class):  # a class draws its clips anew each time it is drawn, also twice in one resample
        here = chosen == c
        means[here] = x[generator.integers(len(x), size=(int(here.sum()), len(x)))].mean(1)
    return _summarise(float(np.mean([x.mean() for x in per_class])), means.mean(1), len(names))


def _summarise(mean: float, drawn: Values, units: int) -> Bootstrap:
    low, high = (float(x) for x in np.quantile(drawn, [0.025, 0.975]))
    far = int((np.abs(drawn - mean) >= abs(mean) * (1 - 1e-12)).sum())
    return Bootstrap(mean, low, high, (1 + far) / (1 + len(drawn)), units)


def correct_holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of ``p``-values of several comparisons: each, in the given order, as sure as all together.

    Examples:
        >>> correct_holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(np.asarray(p), kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def needed_units(deviation: float, difference: float) -> int | None:
    """How many units (episodes, classes) tell a paired difference from nothing: at 5 %, in 80 % of the cases.

    ``((z_0.975 + z_0.8) · deviation / difference)²``; None for a difference of 0.

    Examples:
        >>> needed_units(0.3, 0.02)
        1766
    """
    if difference == 0:
        return None
    return max(2, math.ceil((Z_POWER * deviation / difference) ** 2))
