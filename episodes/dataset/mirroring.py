"""Mirrored clips in training where left and right are classes: a mirrored clip is one of the opposite class.

"Moving something from left to right", mirrored, is "from right to left". A clip of an episode's class is therefore
mirrored by taking a clip of the opposite class, mirrored; of a class that has none, the clip itself is mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from episodes.sampler import hash_words
from episodes.splits import Split


class Mirroring:
    """Which clips of an episode are mirrored, and what stands in their place.

    Args:
        split: names classes and clips.
        opposites: ``{class: class}`` whose mirror images are of each other, in one direction or both; none of the
            others changes when it is mirrored.
        seed: of the draws.

    Raises:
        ValueError: for a class that is not known, or has two opposites.

    >>> from pathlib import Path
    >>> split = Split("train", ("left", "right"), ("a", "b", "c", "d"), (0, 0, 1, 1), Path())
    >>> Mirroring(split, {"left": "right"}, seed=1).draw([0, 2], number=1)
    [(0, False), (1, True)]
    """

    def __init__(self, split: Split, opposites: Mapping[str, str], seed: int = 0) -> None:
        names = {name.casefold(): label for label, name in enumerate(split.class_names)}
        partner = dict[int, int]()
        for pair in opposites.items():
            if missing := [name for name in pair if name.casefold() not in names]:
                raise ValueError(
                    f"data.mirrored: split {split.name} has no class {missing[0]!r}, so that its opposite cannot be "
                    "mirrored. Name pairs of classes that are both there."
                )
            for one, other in (pair, pair[::-1]):
                own, known = names[one.casefold()], names[other.casefold()]
                if partner.setdefault(own, known) != known:
                    raise ValueError(f"data.mirrored: class {one!r} has two opposites; name one.")
        labels = np.array(split.labels)
        self.labels, self.seed = labels, seed
        self.clips = {own: np.flatnonzero(labels == other) for own, other in partner.items()}

    def draw(self, videos: Sequence[int], number: int) -> list[tuple[int, bool]]:
        """For each clip of episode ``number`` the clip that is read, and whether it is mirrored: every other one.

        No clip stands twice in an episode: where the opposite class has none to spare, the clip stays as it is.
        """
        words, taken = hash_words(self.seed, number, np.arange(len(videos))[:, None], [2, 3]), set(videos)
        found: list[tuple[int, bool]] = []
        for video, (flip, which) in zip(videos, words, strict=True):
            if flip >> np.uint64(63) == 0:
                found.append((video, False))
                continue
            others = self.clips.get(int(self.labels[video]))
            if others is None:
                found.append((video, True))
                continue
            spare = [other for other in others.tolist() if other not in taken]
            chosen = spare[int(which % np.uint64(len(spare)))] if spare else video
            taken.add(chosen)
            found.append((chosen, bool(spare)))
        return found
