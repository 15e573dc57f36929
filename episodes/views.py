"""Several views of a clip at test: which frames, and which crops of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

CROPS = (1, 3)


@dataclass(frozen=True)
class Views:
    """``m = clips x crops`` views of every video in evaluation, as video networks are tested (10 x 3 is customary).

    Args:
        clips: of one video; each of ``data.frames`` frames at places of its own, see
            :meth:`episodes.frames.FrameSampler.several`.
        crops: 1, or 3 squares along the longer side: at its start, its centre and its end.
        average: ``features`` of a video's views, which are matched as those of one clip; or ``scores``, where the
            first views of all clips of an episode are scored together, then the second ones, and so on, and the
            logits are averaged.

    Raises:
        ValueError: when a value is out of range.

    Examples:
        >>> Views(clips=2, crops=3).count
        6
    """

    clips: int = 1
    crops: int = 1
    average: Literal["features", "scores"] = "features"

    def __post_init__(self) -> None:
        if self.clips < 1 or self.crops not in CROPS:
            raise ValueError(
                f"data.test_views: clips must be 1 or more and crops 1 or 3; found clips {self.clips}, crops "
                f"{self.crops}."
            )
        if self.average not in ("features", "scores"):
            raise ValueError(f"data.test_views.average must be features or scores, found {self.average!r}.")

    @property
    def count(self) -> int:
        """How many there are, ``m``; the crops of the first clip come first."""
        return self.clips * self.crops

    def __str__(self) -> str:
        return f"{self.clips} x {self.crops} views of each, averaged in {self.average}"

    def choose(
        self, sampler: Any, frames: int, t: int, generator: np.random.Generator | None, fps: float
    ) -> npt.NDArray[np.int64]:
        """The frames of all clips by a sampler of :mod:`episodes.frames`, one clip after the other: ``(clips t)``."""
        if self.clips == 1:
            return np.asarray(sampler(frames, t, generator, fps))
        return np.concatenate(sampler.several(frames, t, self.clips, generator, fps))

    def check(self, sampler: Any, transform: Any) -> None:
        """Raises ValueError for a sampler that gives no several clips, or a transform no several crops."""
        if self.clips > 1 and not hasattr(sampler, "several"):
            raise ValueError(
                f"data.test_views.clips {self.clips} needs a data.test_sampler that has a method several: derive "
                f"yours from episodes.frames.FrameSampler; found {type(sampler).__name__}."
            )
        self.transforms(transform)

    def transforms(self, transform: Any) -> list[Any]:
        """One for each crop.

        Raises:
            ValueError: for several crops of a transform that does not cut out the centre, or has nothing to cut off.
        """
        if self.crops == 1:
            return [transform]
        if not (hasattr(transform, "resize_to") and getattr(transform, "crop", None) == "centre"):
            raise ValueError(
                "data.test_views.crops 3 needs a data.test_transform that cuts out the centre, an "
                "episodes.transforms.ClipTransform with crop centre or a class derived from it; found "
                f"{type(transform).__name__}."
            )
        if transform.resize == "squash" and {*transform.size} == {transform.resize_to}:
            raise ValueError(
                f"data.test_views.crops 3: frames are squashed to the {transform.resize_to} pixels that are cut out, "
                "so all three are one: raise resize_to of data.test_transform, or take one crop."
            )
        found = [copy.copy(transform) for _ in range(3)]
        for each, place in zip(found, ("start", "centre", "end"), strict=True):
            each.crop = place
        return found
