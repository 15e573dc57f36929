"""How much of a benchmark is on disk, what of it can be read, and what the rest means for the protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from episodes.benchmarks.definitions import SPLITS
from episodes.benchmarks.disk import find_videos, refuse_wrong_root
from episodes.benchmarks.lists import Lists
from episodes.video import check_videos
from episodes.words import pluralise

Depth = Literal["none", "quick", "full"]


@dataclass(frozen=True)
class ClassCoverage:
    """One class of one split.

    Args:
        split: train, val or test.
        name: of the class.
        listed: videos in the lists.
        missing: those that are not on disk.
        unreadable: ``{path: cause}`` of those that cannot be read.
        short: ``{path: frames}`` of those with fewer frames than a clip.
    """

    split: str
    name: str
    listed: int
    missing: tuple[str, ...]
    unreadable: dict[str, str]
    short: dict[str, int]

    @property
    def usable(self) -> int:
        """Videos that are there and can be read; short ones are, by repeating frames."""
        return self.listed - len(self.missing) - len(self.unreadable)

    @property
    def whole(self) -> bool:
        """Nothing is missing, unreadable or short."""
        return not (self.missing or self.unreadable or self.short)


@dataclass(frozen=True)
class Coverage:
    """A benchmark on disk.

    Args:
        lists: that it was compared with.
        classes: one entry per class of each split.
        extra: files that belong to no video of the lists.
    """

    lists: Lists
    classes: tuple[ClassCoverage, ...]
    extra: tuple[str, ...]

    def of(self, split: str) -> list[ClassCoverage]:
        """The classes of one split."""
        return [entry for entry in self.classes if entry.split == split]

    def consequences(self, shots: int, queries: int) -> Iterator[str]:
        """What missing and unreadable videos do to the protocol, one sentence for each split that is not whole."""
        for split in SPLITS:
            classes = self.of(split)
            listed, usable = sum(c.listed for c in classes), sum(c.usable for c in classes)
            if usable == listed:
                continue
            least = min(classes, key=lambda c: c.usable)
            yield (
                f"{split}: {listed - usable:,} of {listed:,} videos ({(listed - usable) / listed:.1%}) are out; the "
                f"smallest class, '{least.name}', keeps {least.usable} of {least.listed}."
            )
            if small := [c.name for c in classes if c.usable < shots + queries]:
                yield (
                    f"{split}: {pluralise(len(small), 'class')} with fewer than {shots + queries} videos for "
                    f"{pluralise(shots, 'shot')} and {pluralise(queries, 'query')}, such as '{small[0]}': no "
                    "episode can be drawn from them."
                )
            if split == "test":
                yield (
                    "test: episodes are drawn from other videos than published, so the number is comparable only "
                    "roughly (for Kinetics, users report 1 to 2 points); the coverage is part of every result."
                )


def examine(
    lists: Lists,
    root: Path,
    depth: Depth = "quick",
    frames: int = 8,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Coverage:
    """Looks for the videos of a benchmark and tries to read them.

    Args:
        lists: of the benchmark.
        root: of the data set.
        depth: ``none`` opens no video, ``quick`` reads its first, middle and last frame, ``full`` all of them.
        frames: a video with fewer is called short.
        workers: videos that are read together.
        progress: called with (videos read, videos to read).

    Raises:
        FileNotFoundError: when there is no root, or none of the videos in it.
        ValueError: when two files could be the same video.
    """
    wanted = [video for split in SPLITS for _, video in lists.videos[split]]
    found = find_videos(root, wanted, lists.definition.dataset)
    refuse_wrong_root(root, found, wanted, lists.definition.dataset)
    causes: dict[str, str] = {}
    counts: dict[str, int] = {}
    if depth != "none":
        relative = {str(root / path): path for path in found.paths.values()}
        for number, check in enumerate(check_videos(relative, workers, quick=depth == "quick"), 1):
            if check.info is None:
                causes[relative[check.path]] = check.cause
            elif check.info.frames < frames:
                counts[relative[check.path]] = check.info.frames
            if progress is not None:
                progress(number, len(relative))
    classes = tuple(
        _class(lists, split, label, found.paths, causes, counts)
        for split in SPLITS
        for label in range(len(lists.classes[split]))
    )
    return Coverage(lists, classes, found.extra)


def _class(
    lists: Lists, split: str, label: int, paths: dict[str, str], causes: dict[str, str], counts: dict[str, int]
) -> ClassCoverage:
    videos = [video for own, video in lists.videos[split] if own == label]
    there = [paths[video] for video in videos if video in paths]
    return ClassCoverage(
        split=split,
        name=lists.classes[split][label],
        listed=len(videos),
        missing=tuple(video for video in videos if video not in paths),
        unreadable={path: causes[path] for path in there if path in causes},
        short={path: counts[path] for path in there if path in counts},
    )


def kinds_of(paths: tuple[str, ...]) -> str:
    """Paths summed up by their endings, such as "1,200 .webm, 3 folders"."""
    endings = Counter(Path(path).suffix for path in paths).most_common()
    return ", ".join(f"{count:,} {ending}" if ending else pluralise(count, "folder") for ending, count in endings)
