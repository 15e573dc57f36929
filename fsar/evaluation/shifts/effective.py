"""Is a fall larger than what others of that accuracy lose?

Taori et al. 2020, "Measuring Robustness to Natural Distribution Shifts", https://arxiv.org/abs/2007.00644: over
baselines that nobody made robust, accuracy after a shift lies about on a line over accuracy before, both as logits.
Effective robustness is what is left above that line::

    ρ = acc_shift - σ(a + b logit(acc_clean)),   logit(p) = log(p / (1 - p)),   a, b by least squares on the baselines
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EDGE = 1e-4
"""Accuracies of 0 and 1, whose logits are not finite, count as so far inside."""


class Line(NamedTuple):
    """``logit(acc_shift) = a + b logit(acc_clean)``, and how many baselines it was fitted on."""

    a: float
    b: float
    baselines: int

    def expect(self, clean: float) -> float:
        """The accuracy after the shift that baselines of that accuracy have.

        Examples:
            >>> round(Line(a=0.0, b=1.0, baselines=3).expect(0.7), 3)
            0.7
        """
        return float(1 / (1 + np.exp(-(self.a + self.b * logit([clean])[0]))))


def logit(share: Sequence[float]) -> NDArray[np.float64]:
    """``log(p / (1 - p))``."""
    p = np.clip(np.asarray(share, dtype=np.float64), EDGE, 1 - EDGE)
    found: NDArray[np.float64] = np.log(p / (1 - p))
    return found


def fit_line(clean: Sequence[float], shifted: Sequence[float]) -> Line:
    """The line through the baselines.

    Args:
        clean: accuracy of each before the shift.
        shifted: after it.

    Raises:
        ValueError: for fewer than two different accuracies before the shift.

    Examples:
        >>> line = fit_line([0.5, 0.7, 0.9], [0.3, 0.5, 0.8])
        >>> line.baselines, 0.39 < line.expect(0.6) < 0.4
        (3, True)
    """
    if len(set(clean)) < 2:
        raise ValueError(
            f"a line of effective robustness needs baselines of two different accuracies at least, found "
            f"{', '.join(f'{100 * each:.2f} %' for each in clean) or 'none'}."
        )
    b, a = np.polyfit(logit(clean), logit(shifted), 1)
    return Line(float(a), float(b), len(clean))
