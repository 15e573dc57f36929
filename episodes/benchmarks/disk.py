"""Where the videos of a benchmark are on disk, in any of the layouts that people have.

One walk through the root finds every video file, every folder of frames, also inside zip files (TRX keeps a data set in
one), and every packed store (``*.pack``), however deep: ``<id>.webm``, ``<class>/<id>.avi``,
``train_256/<class>/<id>_<start>_<end>.mp4``, ``<id>/00001.jpg`` ... They are matched by their names alone, so the names
of class folders do not matter.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from episodes.benchmarks.lists import video_id, youtube_id
from episodes.listing import is_passed_over, is_video
from episodes.video import packed
from episodes.video.images import SUFFIXES, archive
from episodes.words import pluralise

EXAMPLES = {
    "ssv2": "{0}.webm, {0}.mp4 or a folder {0} of frames",
    "kinetics": "{0}.mp4, or another name that starts with its YouTube id",
    "ucf101": "{0}.avi or a folder {0} of frames",
    "hmdb51": "{0}.avi or a folder {0} of frames",
}
ANY = "{0} with the ending of a video, or a folder {0} of frames"


@dataclass(frozen=True)
class Found:
    """What is on disk.

    Args:
        paths: video of the lists -> its path relative to the root, with forward slashes.
        extra: paths that belong to no video of the lists.
    """

    paths: dict[str, str]
    extra: tuple[str, ...]

    def count(self, videos: Collection[str]) -> dict[str, int]:
        """How many of these are listed, and how many of them are there."""
        return {"listed": len(videos), "found": sum(video in self.paths for video in videos)}


def tell_gaps(coverage: Mapping[str, Mapping[str, int]], changes: Sequence[str]) -> list[str]:
    """Lines on videos of the lists that are not there, and on lists that are not the published ones.

    >>> tell_gaps({"train": {"listed": 24, "found": 12}, "test": {"listed": 15, "found": 15}}, ["train has 8 classes"])
    ['found 12 of 24 videos of split train', 'not the published lists: train has 8 classes']
    """
    found = [
        f"found {count['found']:,} of {pluralise(count['listed'], 'video')} of split {split}"
        for split, count in coverage.items()
        if count["found"] < count["listed"]
    ]
    return [*found, *([f"not the published lists: {'; '.join(changes)}"] if changes else [])]


def find_all(
    root: Path, wanted: Collection[str], dataset: str, name: str, allow_missing: bool, hint: str = ""
) -> Found:
    """:func:`find_videos`, where all are to be there unless some may be missing.

    Raises:
        FileNotFoundError: none is there, or, where none may be missing, not all: with ``name`` and ``hint``.
    """
    found = find_videos(root, wanted, dataset)
    refuse_wrong_root(root, found, wanted, dataset)
    missing = [video for video in wanted if video not in found.paths]
    if missing and not allow_missing:
        raise FileNotFoundError(
            f"{len(missing):,} of the {len(wanted):,} videos of {name} are not under {root}, such as "
            f"'{missing[0]}'{hint}; allow_missing: true runs without them and records it."
        )
    return found


def find_videos(root: Path, wanted: Collection[str], dataset: str) -> Found:
    """Finds the videos of a benchmark under ``root``.

    UCF101 and HMDB51 are matched without case ("v_HandStandPushups_g01_c01"), Kinetics by YouTube id and, where both
    the list and the file tell it, the start.

    Raises:
        FileNotFoundError: when ``root`` is no folder.
        ValueError: when two files could be the same video.
    """
    if not root.is_dir() and not (root.suffix == archive.SUFFIX and root.is_file()):
        there = next((parent for parent in root.absolute().parents if parent.is_dir()), Path())
        raise FileNotFoundError(f"there is no folder {root}; {there} exists and holds {_three(os.listdir(there))}.")
    by_key: dict[str, list[str]] = defaultdict(list)
    for path in sorted(walk(root)):
        by_key[_key(video_id(path), dataset)].append(path)
    paths: dict[str, str] = {}
    for video in wanted:
        candidates = by_key.get(_key(video, dataset), [])
        if dataset == "kinetics":
            candidates = [path for path in candidates if _same_start(video, video_id(path))]
        if len(candidates) > 1:
            raise ValueError(
                f"the video '{video}' is twice under {root}: {candidates[0]} and {candidates[1]}. Give the root of one "
                "copy, or move the other away."
            )
        if candidates:
            paths[video] = candidates[0]
    taken = set(paths.values())
    return Found(paths, tuple(path for group in by_key.values() for path in group if path not in taken))


def refuse_wrong_root(root: Path, found: Found, wanted: Collection[str], dataset: str) -> None:
    """Refuses a root with none of the wanted videos.

    Raises:
        FileNotFoundError: saying what was looked for, and three files that are there.
    """
    if wanted and not found.paths:
        there = _three(found.extra) if found.extra else f"no video at all, but {_three(os.listdir(root))}"
        raise FileNotFoundError(
            f"none of the {len(wanted):,} videos is under {root}. Looked, in all its folders, for "
            f"{EXAMPLES.get(dataset, ANY).format(min(wanted))}; found {there}."
        )


def walk(root: Path) -> Iterator[str]:
    """Paths relative to ``root`` of video files, folders of frames, and clips in packed stores and zip files."""
    for store in (packed, archive):
        if root.suffix == store.SUFFIX:
            yield from store.clips(root)
            return
    folders = [""]
    while folders:
        folder = folders.pop()
        inside, videos, images = [], [], False
        with os.scandir(root / folder) as entries:
            for entry in entries:
                ending = os.path.splitext(entry.name)[1].lower()
                path = f"{folder}/{entry.name}" if folder else entry.name
                if is_passed_over(entry.name):
                    continue
                if entry.is_dir():
                    inside.append(path)
                elif ending == archive.SUFFIX:
                    yield from (f"{path}/{clip}" for clip in archive.clips(root / path))
                elif is_video(entry.path):
                    videos.append(path)
                images |= ending in SUFFIXES
        if images and folder and not inside and not videos:
            yield folder
            continue
        yield from videos
        for path in inside:
            if path.endswith(packed.SUFFIX):
                yield from (f"{path}/{clip}" for clip in packed.clips(root / path))
            else:
                folders.append(path)


def _key(video: str, dataset: str) -> str:
    return youtube_id(video)[0] if dataset == "kinetics" else video.casefold()


def _same_start(wanted: str, there: str) -> bool:
    starts = {youtube_id(wanted)[1], youtube_id(there)[1]} - {None}
    return len(starts) < 2


def _three(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:3]) or "nothing"
    return f"{shown} and {len(names) - 3:,} more" if len(names) > 3 else shown
