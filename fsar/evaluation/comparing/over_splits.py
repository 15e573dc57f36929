"""An accuracy over several class splits: its interval is over splits, so that it says something of other classes.

The splits draw their test classes from the same few, and share many: their accuracies are not independent, and the
plain interval ``t · s / √N`` would shrink to nothing with the number of splits. With a share f of the classes in each::

    ± t_{N-1} · s · sqrt(1/N + f / (1 - f))

(Nadeau and Bengio 2003, "Inference for the Generalization Error", https://doi.org/10.1023/A:1024068626366). For means
over f M of M classes, drawn without replacement, this is exact: ``s² f / (1 - f)`` estimates the variance of the mean
over all M as a sample of classes, and ``s² / N`` that of the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z = 1.959963984540054


class OverSplits(NamedTuple):
    """Mean of the splits' accuracies, half its 95 % interval over splits, their standard deviation (all in 0..1), and
    how many splits.

    >>> print(OverSplits(0.453, 0.062, 0.021, 10))
    45.30 ± 6.20 % (over 10 class splits; from split to split ± 2.10 is the standard deviation)
    """

    mean: float
    interval: float
    deviation: float
    splits: int

    def __str__(self) -> str:
        return (
            f"{100 * self.mean:.2f} ± {100 * self.interval:.2f} % (over {self.splits} class splits; from split to "
            f"split ± {100 * self.deviation:.2f} is the standard deviation)"
        )


def summarise_splits(accuracies: Sequence[float], share: float) -> OverSplits:
    """The mean over splits with its interval.

    Args:
        accuracies: one for each split.
        share: of all classes that a split tests on, in 0..1.

    Raises:
        ValueError: for fewer than two splits, or a share that leaves no other classes.
    """
    count = len(accuracies)
    if count < 2 or not 0 < share < 1:
        raise ValueError(f"an interval over splits needs 2 splits or more and a share in 0..1, found {count}, {share}.")
    mean = sum(accuracies) / count
    deviation = math.sqrt(sum((x - mean) ** 2 for x in accuracies) / (count - 1))
    return OverSplits(
        mean, quantile_t(count - 1) * deviation * math.sqrt(1 / count + share / (1 - share)), deviation, count
    )


def quantile_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: exact for 1 and 2 degrees of freedom, from there on to a thousandth by the
    expansion of Abramowitz and Stegun, 26.7.5.

    >>> round(quantile_t(1), 3), round(quantile_t(9), 3)
    (12.706, 2.262)
    """
    if freedom == 1:
        return math.tan(0.475 * math.pi)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    v, z = freedom, Z
    terms = (
        (z**3 + z) / (4 * v),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3),
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4),
    )
    return z + sum(terms)
