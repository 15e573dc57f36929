"""From which similarity on a clip counts as one of the classes, found from the support clips alone.

No clip of an unknown class is at hand, but every support clip plays two parts. Against the other classes it is a clip
of an unknown class: its largest similarity to a class that is not its own is *foreign*. Left out of its own class, it
is a new clip of a known one: its similarity to the rest of its class is *genuine* (classes of two clips or more).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A clip whose similarity to the most similar class is below ``value`` is unlike all classes.

    Args:
        value: in the method's few-shot logits.
        genuine: similarity of each support clip to its own class without it; empty when every class has one clip, or
            the metric cannot compare classes of different numbers of clips.
        foreign: largest similarity of each support clip to a class that is not its own.
    """

    value: float
    genuine: tuple[float, ...]
    foreign: tuple[float, ...]

    @property
    def separation(self) -> float:
        """Share of genuine similarities at or above the bound, and of foreign ones below it, less 1: 1 when it divides
        them, 0 when it tells nothing. NaN without genuine similarities."""
        if not self.genuine:
            return float("nan")
        kept = sum(x >= self.value for x in self.genuine) / len(self.genuine)
        return kept + sum(x < self.value for x in self.foreign) / len(self.foreign) - 1

    def explain(self) -> str:
        """What the bound stands on."""
        kept = sum(x >= self.value for x in self.genuine)
        refused = sum(x < self.value for x in self.foreign)
        bound = f"A clip is called unlike all when its similarity to every class is below {self.value:.4g}. "
        if not self.genuine:
            return (
                f"{bound}None of the {len(self.foreign)} support clips is that similar to another class; whether new "
                "clips of a class are that similar to it takes two clips a class to find out."
            )
        doubt = " The two hardly differ: do not rely on it." if self.separation < 0.5 else ""
        return (
            f"{bound}Of the support clips, {kept} of {len(self.genuine)} are that similar to their own class when left "
            f"out of it, and {refused} of {len(self.foreign)} are less similar to every other class.{doubt}"
        )


def calibrate(genuine: Sequence[float], foreign: Sequence[float]) -> Threshold:
    """The bound that separates best: largest sum of the shares of genuine at or above it and of foreign below it.

    Bounds are tried in the middle between neighbouring similarities; of equally good ones the middle is taken. Without
    genuine similarities the bound stands just above the largest foreign one.

    Raises:
        ValueError: without foreign similarities.
    """
    if not foreign:
        raise ValueError("a threshold needs the similarity of each support clip to another class; found none.")
    if not genuine:
        top = max(foreign)
        return Threshold(top + 1e-6 * max(1.0, abs(top)), (), tuple(foreign))
    values = sorted({*genuine, *foreign})
    bounds = [(a + b) / 2 for a, b in itertools.pairwise(values)] or [values[0]]

    tried = [Threshold(bound, tuple(genuine), tuple(foreign)) for bound in bounds]
    most = max(found.separation for found in tried)
    best = [found for found in tried if found.separation > most - 1e-12]
    return best[len(best) // 2]
