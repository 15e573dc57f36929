"""What is shared where nothing should be: sources of clips across splits, one benchmark's test and another's training.

Classes, videos and YouTube ids that stand in two splits of one benchmark are refused when its lists are read
(:func:`episodes.benchmarks.lists.refuse_leaks`). What the published lists do share is reported here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from episodes.benchmarks.definitions import SPLITS, Dataset
from episodes.benchmarks.lists import Lists, plain_name, youtube_id


def source_of(video: str, class_name: str, dataset: Dataset) -> str | None:
    """What a clip was cut from: a YouTube video, a group of UCF101, a film of HMDB51; None where names do not tell.

    A group of UCF101 ("g07") is numbered inside its class; a film of HMDB51 is what stands before the class.
    """
    if dataset == "kinetics":
        return youtube_id(video)[0]
    if dataset == "ucf101":
        group = re.search(r"_(g\d+)_c\d+$", video)
        return f"{class_name}/{group[1]}" if group else None
    if dataset == "hmdb51":
        film, found, _ = video.partition(f"_{class_name}_")
        return film if found else None
    return None


@dataclass(frozen=True)
class SharedSources:
    """Sources with clips in two splits.

    Args:
        splits: the two.
        sources: that both have clips of.
        videos: number of such clips in each.
    """

    splits: tuple[str, str]
    sources: tuple[str, ...]
    videos: tuple[int, int]


def shared_sources(lists: Lists) -> list[SharedSources]:
    """Sources that two splits share, one entry per pair of splits that do."""
    clips: dict[str, dict[str, int]] = {split: defaultdict(int) for split in SPLITS}
    for split in SPLITS:
        for label, video in lists.videos[split]:
            source = source_of(video, lists.classes[split][label], lists.definition.dataset)
            if source is not None:
                clips[split][source] += 1
    found = []
    for one, other in combinations(SPLITS, 2):
        if both := sorted(set(clips[one]) & set(clips[other])):
            counts = (sum(clips[one][s] for s in both), sum(clips[other][s] for s in both))
            found.append(SharedSources((one, other), tuple(both), counts))
    return found


def clips_per_source(lists: Lists, split: str) -> float:
    """How many clips of one class come from the same source, on average; 1 when all are of their own.

    Where it is more, the support and the query of an episode may be cut from the same recording.
    """
    videos = lists.videos[split]
    names = [(lists.classes[split][label], video) for label, video in videos]
    sources = {(name, source_of(video, name, lists.definition.dataset) or video) for name, video in names}
    return len(videos) / len(sources) if sources else 0.0


def seen_classes(trained: Iterable[str], tested: Iterable[str]) -> list[str]:
    """Those of the ``tested`` classes that are among the ``trained`` ones, however they are spelt.

    >>> seen_classes(["Blow Dry Hair"], ["BlowDryHair", "Archery"])
    ['BlowDryHair']
    """
    seen = {plain_name(name) for name in trained}
    return [name for name in tested if plain_name(name) in seen]


@dataclass(frozen=True)
class Overlap:
    """What the training split of one benchmark shares with the test split of another.

    Args:
        trained: name of the one.
        tested: name of the other.
        classes: test classes that were trained on.
        videos: number of test videos that were trained on.
        test_classes: number of all test classes.
        test_videos: number of all test videos.
    """

    trained: str
    tested: str
    classes: tuple[str, ...]
    videos: int
    test_classes: int
    test_videos: int

    def __str__(self) -> str:
        if not self.classes and not self.videos:
            return f"trained on {self.trained}, tested on {self.tested}: no class and no video in common."
        return (
            f"trained on {self.trained}, tested on {self.tested}: {len(self.classes)} of the {self.test_classes} test "
            f"classes and {self.videos:,} of the {self.test_videos:,} test videos were trained on. Such a result is "
            "not few-shot; do not report it."
        )


def overlap(trained: Lists, tested: Lists) -> Overlap:
    """What a model trained on one benchmark has seen of the test split of another."""
    videos = {video for _, video in trained.videos["train"]}
    names = tested.classes["test"]
    return Overlap(
        trained=trained.definition.name,
        tested=tested.definition.name,
        classes=tuple(seen_classes(trained.classes["train"], names)),
        videos=sum(video in videos for _, video in tested.videos["test"]),
        test_classes=len(names),
        test_videos=len(tested.videos["test"]),
    )
