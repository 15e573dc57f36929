"""Further published lists on the videos that are on disk, as a source for the data module."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from episodes.benchmarks.definitions import SPLITS, clean_text
from episodes.benchmarks.disk import Found, find_all, tell_gaps
from episodes.benchmarks.further.definitions import further
from episodes.benchmarks.further.reading import Classes, read_part
from episodes.splits import Benchmark, Split

RECORDINGS = {
    "diving48": re.compile(r"(.+)_\d+"),
    "epic_kitchens": re.compile(r"(P\d+_\d+)_\d+"),
    "gym": re.compile(r"([\w-]{11})_.+"),
    "ntu": re.compile(r"S\d+C\d+(P\d+)R\d+A\d+"),
}
"""What of a video's name is its recording; of NTU RGB+D the person."""


class Listed:
    """Further published lists by name: Diving48, RareAct, EPIC-Kitchens, Gym99, Something-Else, NTU RGB+D, and those of
    cross-domain, open-set and base-to-novel protocols. What is wrong with them is said on loading and in results.

    Args:
        name: of the lists, such as diving48_tamt; see docs/benchmarks.md. A cleaned variant has a name of its own.
        root: the folder of the data set; videos and folders of frames are found however deep they lie.
        lists: the folder of the released files, or a file {part: {class: [video, ...]}}.
        train: which part trains, where there is a choice (base_s1, base_s2, base_s3 of ViFi-CLIP).
        allow_missing: run although videos are missing; how many were there is recorded with every result.
        allow_changed: run with lists that are not the published ones; how they differ is recorded.

    Raises:
        ValueError: an unknown name, lists without training and test classes of their own, or other lists.
        FileNotFoundError: no lists, missing videos, or a root without any.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str],
        lists: str | os.PathLike[str],
        train: str | None = None,
        allow_missing: bool = False,
        allow_changed: bool = False,
    ) -> None:
        self.known = further(name)
        if not self.known.roles:
            raise ValueError(
                f"the lists of {name} ({', '.join(self.known.parts)}) are of the same classes: no few-shot benchmark. "
                "They are read by episodes.benchmarks.further.read_part."
            )
        self.roles = {**self.known.roles, **({"train": train} if train else {})}
        if unknown := set(self.roles.values()) - set(self.known.parts):
            raise ValueError(f"{name} has no part {', '.join(unknown)}; it has {', '.join(self.known.parts)}.")
        self.root, self.lists = Path(root), Path(lists)
        self.allow_missing, self.allow_changed = allow_missing, allow_changed

    def load(self) -> Benchmark:
        """Reads the lists and looks for the videos; no video is opened. Gives a :class:`Benchmark`."""
        read = {s: read_part(self.known, p, self.lists, self.allow_changed) for s, p in self.roles.items()}
        classes = {split: read[split].classes if split in read else {} for split in SPLITS}
        wanted = [video for split in SPLITS for videos in classes[split].values() for video in videos]
        found = find_all(self.root, wanted, self.known.dataset, self.known.name, self.allow_missing)
        train, val, test = (make_split(split, classes[split], found, self.root) for split in SPLITS)
        faults = [*self.known.faults, *tell_recordings(classes, self.known.dataset)]
        if any(name.isdecimal() for named in classes.values() for name in named):
            faults.append("classes are numbered and their names are not in the lists: what reads names sees numbers")
        if self.known.cleaned:
            faults = [f"cleaned from {self.known.published}: {self.known.says}", *faults]
        facts = self._facts(classes, found, faults, [change for one in read.values() for change in one.changes])
        notes = [*faults, *tell_gaps(facts["coverage"], facts["list_changes"])]
        return Benchmark(self.known.name, train, val, test, facts, tuple(notes))

    def _facts(
        self, classes: dict[str, Classes], found: Found, faults: list[str], changes: list[str]
    ) -> dict[str, Any]:
        return {
            "list": self.known.name,
            "list_parts": self.roles,
            "list_sha256": {split: self.known.parts[part].sha256 for split, part in self.roles.items()},
            "list_source": self.known.repository,
            "list_faults": faults,
            "list_changes": changes,
            **({"label_version": self.known.version} if self.known.version else {}),
            "coverage": {s: found.count([video for some in classes[s].values() for video in some]) for s in SPLITS},
        }


def make_split(name: str, classes: Classes, found: Found, root: Path) -> Split:
    """The videos that are there, class by class as the list has them."""
    there = [
        (label, found.paths[video])
        for label, videos in enumerate(classes.values())
        for video in sorted(videos)
        if video in found.paths
    ]
    return Split(
        name=name,
        class_names=tuple(f"class {c}" if c.isdecimal() else clean_text(c) for c in classes),
        paths=tuple(path for _, path in there),
        labels=tuple(label for label, _ in there),
        root=root,
    )


def tell_recordings(classes: dict[str, Classes], dataset: str) -> list[str]:
    """A line on recordings of test videos that training has clips of too."""
    if dataset not in RECORDINGS:
        return []

    def recordings(split: str) -> set[str]:
        videos = [video for some in classes[split].values() for video in some]
        return {match[1] for video in videos if (match := RECORDINGS[dataset].fullmatch(video))}

    train, test = recordings("train"), recordings("test")
    kind = "persons" if dataset == "ntu" else "recordings"
    return [f"{len(train & test)} of {len(test)} {kind} of the test are in training too"] if train & test else []
