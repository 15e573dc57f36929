"""What a clip was taken for, and how its frames were matched with those of each class."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from episodes.files import write_atomically
from fsar.alignment.maps import FrameMap
from fsar.evaluation.calibration import Calibration
from fsar.evaluation.cells import to_cell
from fsar.inference.threshold import Threshold


@dataclass(frozen=True)
class Answer:
    """What a clip was taken for.

    Args:
        clip: its path.
        ranking: (class name, probability), the likeliest first; see ``calibration``.
        similarities: to every class, as few-shot logits; by a learned background text, the log-odds
            of any class against it, for all.
        threshold: below which similarities a clip is unlike all classes.
        alignments: by class name; empty for a method that matches no frames.
        calibration: what makes the ranking's numbers probabilities; without it they are shares of a softmax that
            nothing was compared with, and are called so.
        itself: the class of which the clip is a support clip too, by its path or content; None mostly.
    """

    clip: str
    ranking: tuple[tuple[str, float], ...]
    similarities: Mapping[str, float]
    threshold: Threshold
    alignments: Mapping[str, FrameMap] = field(default_factory=dict, compare=False, repr=False)
    calibration: Calibration | None = None
    itself: str | None = None

    @property
    def measure(self) -> str:
        """What the ranking's numbers are: "probability" or "share"."""
        return "share" if self.calibration is None else "probability"

    def amount(self, number: float, digits: int = 0) -> str:
        """A number of the ranking as it is shown: a probability in per cent, a share as a fraction."""
        return f"{number:.{digits + 2}f}" if self.calibration is None else f"{number:.{digits}%}"

    @property
    def unlike_all(self) -> bool:
        """Whether the clip is less similar to every class than the threshold asks."""
        return self.threshold.unlike_all(self.similarities)

    @property
    def similarity(self) -> float:
        """To the most similar class."""
        return max(self.similarities.values())

    @property
    def bound(self) -> float | None:
        """Of the most similar class; None when it takes every clip."""
        return self.threshold.bounds[max(self.similarities, key=self.similarities.__getitem__)]

    @property
    def note(self) -> str:
        """What to say below the name of a clip that meets itself, or that is unlike all and how far to believe it; else
        ""."""
        if self.itself is not None:
            return f"This clip is a support clip of {self.itself} too: it is compared with itself."
        if not self.unlike_all:
            return ""
        check = self.threshold
        share = f"than {check.promised:.0%} of the classes' own clips"
        claimed = 1 / (1 + math.exp(min(self.similarity, 700)))
        why = (
            f"The background text that this run learned claims it ({claimed:.0%}) more {share}"
            if check.learned
            else f"Less similar to every class {share} are"
        )
        return (
            f"{why}: it may show none of them. Of the {check.foreign} support clips the check tells {check.refused} "
            "from the other classes" + ("." if check.telling else ": do not rely on it.")
        )

    def record(self) -> dict[str, Any]:
        """What JSON can hold: clip, ranking, similarity, unlike_all, and the alignment with the likeliest class."""
        best = self.alignments.get(self.ranking[0][0])
        return {
            "clip": self.clip,
            "ranking": [{"class": name, self.measure: round(p, 6)} for name, p in self.ranking],
            "similarity": round(self.similarity, 6),
            "bound": None if self.bound is None else round(self.bound, 6),
            "unlike_all": self.unlike_all,
            "note": self.note,
            "alignment": None if best is None else best.record(),
        }

    def __str__(self) -> str:
        names = ", ".join(f"{name} {self.amount(number)}" for name, number in self.ranking[:3])
        return f"{self.clip}: {names}" + (" (unlike all)" if self.unlike_all else "")


class Answers(list[Answer]):
    """A list of what clips were taken for, in the order asked.

    Args:
        answers: one for each clip that could be read.
        unreadable: ``{clip: cause}`` of those that could not.
    """

    def __init__(self, answers: Iterable[Answer] = (), unreadable: Mapping[str, str] | None = None) -> None:
        super().__init__(answers)
        self.unreadable = dict(unreadable or {})


def write_csv(path: Path, answers: Answers, truth: Mapping[str, str] | None = None) -> None:
    """One row for each clip: file, class, probability (``share`` where it is not calibrated), similarity, unlike_all
    and, of clips not read, why.

    Args:
        path: of the file.
        answers: what is written.
        truth: ``{clip: class}`` where it is known, written as well.
    """
    known = {} if truth is None else {"truth": truth}
    measure = answers[0].measure if answers else "probability"
    with write_atomically(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", *known, "class", measure, "similarity", "unlike_all", "unreadable"])
        for answer in answers:
            told = [to_cell(each[answer.clip]) for each in known.values()]
            name, number = answer.ranking[0]
            row = [to_cell(name), f"{number:.6f}", f"{answer.similarity:.6f}", str(answer.unlike_all).lower(), ""]
            writer.writerow([to_cell(answer.clip), *told, *row])
        for clip, cause in answers.unreadable.items():
            told = [to_cell(each[clip]) for each in known.values()]
            writer.writerow([to_cell(clip), *told, "", "", "", "", to_cell(cause)])


def rank_classes(names: Sequence[str], probabilities: Tensor) -> tuple[tuple[str, float], ...]:
    """Names with their ``probabilities (n)``, the likeliest first.

    >>> rank_classes(["sit", "jump"], torch.tensor([0.25, 0.75]))
    (('jump', 0.75), ('sit', 0.25))
    """
    return tuple(sorted(zip(names, probabilities.tolist(), strict=True), key=lambda pair: -pair[1]))
