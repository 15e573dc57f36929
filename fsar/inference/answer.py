"""What a clip was taken for, and how its frames were matched with those of each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fsar.alignment.maps import AlignmentMap
from fsar.inference.threshold import Threshold


@dataclass(frozen=True)
class Answer:
    """What a clip was taken for.

    Args:
        clip: its path.
        ranking: (class name, probability), the likeliest first.
        similarity: to the most similar class, as a few-shot logit.
        threshold: below which similarity a clip is unlike all classes.
        alignments: by class name; empty for a method that matches no frames.
    """

    clip: str
    ranking: tuple[tuple[str, float], ...]
    similarity: float
    threshold: Threshold
    alignments: Mapping[str, AlignmentMap] = field(default_factory=dict, compare=False, repr=False)

    @property
    def unlike_all(self) -> bool:
        """Whether the clip is less similar to every class than the threshold asks."""
        return self.similarity < self.threshold.value

    def record(self) -> dict[str, Any]:
        """What JSON can hold: clip, ranking, similarity, unlike_all, and the alignment with the likeliest class."""
        best = self.alignments.get(self.ranking[0][0])
        return {
            "clip": self.clip,
            "ranking": [{"class": name, "probability": round(p, 6)} for name, p in self.ranking],
            "similarity": round(self.similarity, 6),
            "unlike_all": self.unlike_all,
            "alignment": None if best is None else best.record(),
        }

    def __str__(self) -> str:
        names = ", ".join(f"{name} {probability:.0%}" for name, probability in self.ranking[:3])
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


def ranked(names: Sequence[str], probabilities: Tensor) -> tuple[tuple[str, float], ...]:
    """Names with their ``probabilities (n)``, the likeliest first."""
    return tuple(sorted(zip(names, probabilities.tolist(), strict=True), key=lambda pair: -pair[1]))
