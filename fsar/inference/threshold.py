"""From which similarity on a clip counts as one of the classes, found from the support clips alone.

No clip of an unknown class is at hand, but every support clip plays two parts. Left out of its own class, it is a new
clip of a known one. Against the other classes it is a clip of an unknown class.

The bound makes one promise: of new clips of these classes, a share ``keep`` or more is not called unlike all. A new
clip and the ``n`` clips that were left out are draws alike, so it falls below the ``j``-th smallest of their
similarities with a chance of ``j / (n + 1)`` (conformal prediction: Vovk et al. 2005, "Algorithmic learning in a random
world", chapter 2). A class of few clips is held to similarities of as few: to more clips a new one is more alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KEEP = 0.9
"""Share of new clips of the classes that shall be kept, when nothing else is asked for."""


@dataclass(frozen=True)
class Threshold:
    """A clip is unlike all classes when its similarity to every class is below that class's bound.

    Args:
        bounds: by class, in the method's few-shot logits; None for a class that takes every clip, since too few clips
            could be left out.
        keep: the share of new clips of these classes that was to be kept.
        left_out: how many support clips the bounds stand on.
        refused: how many of ``foreign`` support clips the bounds of the other classes keep out.
        foreign: the number of support clips.
        learned: the similarities are log-odds of any class against a background text that the run learned.
    """

    bounds: Mapping[str, float | None]
    keep: float
    left_out: int
    refused: int
    foreign: int
    learned: bool = False

    @property
    def checked(self) -> bool:
        """Whether any clip could be called unlike all."""
        return None not in self.bounds.values()

    @property
    def promised(self) -> float:
        """The share of new clips that is kept at least: ``keep``, or what the number of clips rounds it up to."""
        return 1 - below(self.left_out, self.keep) / (self.left_out + 1)

    @property
    def passing(self) -> float:
        """Share of clips of other classes that are expected to pass as one of these (rule of succession)."""
        return (self.foreign - self.refused + 1) / (self.foreign + 2)

    @property
    def telling(self) -> bool:
        """Whether the check tells known from unknown well: fewer than half of the clips of other classes pass."""
        return self.checked and self.passing < 0.5

    def unlike_all(self, similarities: Mapping[str, float]) -> bool:
        """Whether a clip of these similarities to the classes is below every bound."""
        return all(bound is not None and similarities[name] < bound for name, bound in self.bounds.items())

    def explain(self) -> str:
        """What the bounds promise, and how far they can be trusted."""
        if not self.checked:
            need = math.ceil(self.keep / (1 - self.keep) - 1e-9)
            return (
                f"Whether a clip is unlike all was not checked: that takes {need} support clips"
                + ("" if self.learned else " in classes of two or more")
                + f", to keep {self.keep:.0%} of new clips of these classes; such clips here: {self.left_out}."
                + (
                    f" With these, `fsar predict --keep {loosest(self.left_out):g}` is possible."
                    if self.left_out
                    else ""
                )
            )
        doubt = "" if self.telling else " The two hardly differ: do not rely on it."
        told = (
            f"Called unlike all is what the background text of this run claims more than it claims {self.left_out} "
            "support clips"
            if self.learned
            else f"Called unlike all is what is less similar to every class than {self.left_out} support clips are to "
            "their own without them"
        )
        verb = "is" if self.refused == 1 else "are"
        return (
            f"{told}, but for so many that {self.promised:.0%} or more of new clips of these classes are "
            f"kept. Of the {self.foreign} support clips {self.refused} {verb} told from the other classes so: expect "
            f"{self.passing:.0%} of clips of other classes to pass as one of these.{doubt} A smaller "
            "--keep of `fsar predict` is stricter."
        )


def below(count: int, keep: float) -> int:
    """Which of ``count`` similarities, the smallest being 1, is the bound that keeps a share ``keep``; 0 for none."""
    return math.floor((count + 1) * (1 - keep) + 1e-9)


def loosest(count: int) -> float:
    """The largest share, in whole per cent, that ``count`` clips can promise to keep."""
    return math.floor(100 * count / (count + 1)) / 100


def bound(genuine: Sequence[float], keep: float) -> float | None:
    """The largest bound that keeps a share ``keep`` of what is like the ``genuine`` similarities; None for none.

    Raises:
        ValueError: for a share that is not between 0 and 1.

    >>> bound([0.9, 0.8, 0.7, 0.2], keep=0.75)
    0.2
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep must lie between 0 and 1, found {keep}: 0.9 keeps nine in ten clips of the classes.")
    place = below(len(genuine), keep)
    return sorted(genuine)[place - 1] if place else None


def leave_out(labels: Sequence[int], shots: int, even: bool = False) -> list[tuple[int, list[int]]]:
    """Every clip of a class of two or more, with the support that is left for it: the other classes, and of its own
    as many other clips as there are, ``shots`` at most.

    Args:
        labels: of the clips.
        shots: at most so many of its own class.
        even: as many of every class, for metrics that need that; nothing where classes differ in size.
    """
    if even and len({labels.count(label) for label in labels}) > 1:
        return []
    found = []
    for clip, label in enumerate(labels):
        own = [other for other in range(len(labels)) if labels[other] == label]
        if len(own) < 2:
            continue
        place = own.index(clip)
        kept = (own[place + 1 :] + own[:place])[:shots]
        for other in set(labels) - {label}:
            rest = [i for i in range(len(labels)) if labels[i] == other]
            kept += rest[: len(own) - 1] if even else rest
        found.append((clip, sorted(kept)))
    return found
