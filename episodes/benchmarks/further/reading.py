"""Readers of these lists: JSON and text as they were released, and one form for lists of your own.

==========================================================  ==================================================
form                                                        where
==========================================================  ==================================================
``{"image_names": [...], "image_labels": [...]}``           TAMT, a file for each part
``clip.avi 17``, ``137878 30 37``                           ViFi-CLIP, VBA, Xian's SSv2: the video first, the class last
``class/clip``                                              Xian, FSOSAR, TRX
``test8//clips_256/P01_11_100.MP4``                         HyRSM's EPIC-Kitchens: part and class, then the video
``{"train": {"class": ["clip", ...]}, "test": {...}}``      one file for all parts, ``.json`` or ``.json.gz``: bring
                                                            lists of HAA500, ActivityNet or your own in this form
==========================================================  ==================================================
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from episodes.benchmarks.further.definitions import Further, hash_groups
from episodes.benchmarks.lists import NUMBERED, video_id
from episodes.words import pluralise

Classes = dict[str, list[str]]
SUFFIXES = (".json", ".json.gz")
SWAPPED = {"sword": "sword exercise", "sword exercise": "sword", "kick": "kick ball", "kick ball": "kick"}
POSITIVE = 1
"""Of RareAct's annotations: verb and noun are both to be seen."""


class Read(NamedTuple):
    """A part: its classes with their videos, and what of it is not as published."""

    classes: Classes
    changes: tuple[str, ...]


def read_part(known: Further, part: str, lists: Path, allow_changed: bool = False) -> Read:
    """One list of a release, checked against its counts and hash; then cleaned, where the name says so.

    Args:
        known: the release.
        part: such as ``novel``.
        lists: a folder with the released files or ``<name>.json``; or such a JSON file.
        allow_changed: take lists that are not the published ones, and say how they differ.

    Raises:
        FileNotFoundError: when no such list is there.
        ValueError: for a line that makes no sense, a video that is listed twice, or another list.
    """
    published = known.published or known.name
    file, whole = find_file(known, part, lists, published)
    content = read_json(file) if file.name.endswith(SUFFIXES) else None
    classes = read_whole(file, content, part) if whole else read_released(file, content)
    counts = Counter(video for videos in classes.values() for video in videos)
    twice, times = next(iter(counts.most_common(1)), ("", 1))
    if times > 1:
        raise ValueError(f"{file}: the video '{twice}' is listed {times} times in {part}; expected once.")
    changes = differences(known, part, classes)
    if changes and not allow_changed:
        raise ValueError(
            f"{file} is not the {part} list of {published} that was published: {'; '.join(changes)}. Get it from "
            f"{known.repository}, or accept it with allow_changed, which results record."
        )
    if known.cleaned == "names":
        if all(name.isdecimal() for name in classes):
            raise ValueError(
                f"{file} numbers its classes, and {known.name} is about their names: give {published}.json."
            )
        classes = {rename(name): videos for name, videos in classes.items()}
    if known.cleaned == "positives":
        classes = keep_positives(classes, (content or {}).get("segments"), file, known)
    return Read(name_classes(classes, content, file), tuple(changes))


def differences(known: Further, part: str, classes: Classes) -> list[str]:
    """How a list differs from the published one, in words."""
    facts, videos = known.parts[part], sum(map(len, classes.values()))
    found = []
    if (len(classes), videos) != (facts.classes, facts.videos):
        found.append(
            f"{pluralise(len(classes), 'class')} and {pluralise(videos, 'video')}, published {facts.classes} and "
            f"{facts.videos:,}"
        )
    if (digest := hash_groups(classes.values())) != facts.sha256:
        found.append(f"sha256 {digest[:12]}, published {facts.sha256[:12]}")
    return found


def find_file(known: Further, part: str, lists: Path, name: str) -> tuple[Path, bool]:
    """The file of a part, and whether it holds all parts."""
    if lists.is_file():
        return lists, True
    for choice in (f"{name}{suffix}" for suffix in SUFFIXES):
        if (lists / choice).is_file():
            return lists / choice, True
    released = known.files.get(part, "")
    for choice in (released, f"{released}.gz"):
        if released and (lists / choice).is_file():
            return lists / choice, False
    wanted = f"{name}.json" + (f" or {released}" if released else "")
    raise FileNotFoundError(f"there is no {wanted} in {lists}: the {part} list of {name} is at {known.repository}.")


def read_text(file: Path) -> str:
    """What a file holds, packed or not."""
    content = file.read_bytes()
    return (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8-sig")


def read_json(file: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(read_text(file))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}).") from error


def read_whole(file: Path, content: Any, part: str) -> Classes:
    """A part of a file that holds all: ``{part: {class: [videos]}}``."""
    found = content.get(part) if isinstance(content, dict) else None
    if not isinstance(found, dict) or not all(isinstance(videos, list) for videos in found.values()):
        there = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f'{file} must hold {{"{part}": {{"class": ["video", ...]}}}}; found {there}.')
    return {str(name): [video_id(str(video)) for video in videos] for name, videos in found.items()}


def read_released(file: Path, content: Any) -> Classes:
    """A part as it was released; classes without a name are called by their number."""
    found: Classes = {}
    if isinstance(content, dict) and {"image_names", "image_labels"} <= content.keys():
        for path, label in zip(content["image_names"], content["image_labels"], strict=True):
            found.setdefault(str(label), []).append(video_id(path))
        return found
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if words := line.split():
            label, video = read_line(line.strip(), words, f"{file}, line {number}")
            found.setdefault(label, []).append(video)
    return found


def read_line(line: str, words: list[str], place: str) -> tuple[str, str]:
    """Class and video of a line."""
    if match := NUMBERED.fullmatch(line):
        return f"{match[1]}{match[2]}", video_id(match[3])
    if len(words) > 1 and words[-1].isdecimal():
        return words[-1], video_id(words[0])
    name, _, video = line.rpartition("/")
    if not name or not video:
        raise ValueError(f"{place}: '{line}' is in no known format. Expected `video class`, or class/video.")
    return os.path.basename(name), video_id(video)


def name_classes(classes: Classes, content: Any, file: Path) -> Classes:
    """Classes that are numbered by the names that the file gives beside them, ``meta.v2_class_names``; others as they
    are.

    Raises:
        ValueError: for a name that two classes have, which would become one.
    """
    meta = content.get("meta") if isinstance(content, dict) else None
    names = meta.get("v2_class_names") if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(c.isdecimal() and int(c) < len(names) for c in classes):
        return classes
    if twice := [name for name, times in Counter(str(names[int(c)]) for c in classes).items() if times > 1]:
        raise ValueError(f"{file}: meta.v2_class_names gives the name {twice[0]!r} to several classes; expected once.")
    return {str(names[int(c)]): videos for c, videos in classes.items()}


def rename(name: str) -> str:
    """The class whose videos a swapped name stands for."""
    words = name.replace("_", " ")
    return SWAPPED.get(words, name)


def keep_positives(classes: Classes, segments: Mapping[str, Any] | None, file: Path, known: Further) -> Classes:
    """Clips that show the action, each segment once; classes without one are left out.

    Args:
        classes: of the list.
        segments: ``{video: [YouTube id, start, end, annotation]}``.
        file: of the list, for messages.
        known: the release.
    """
    if segments is None:
        raise ValueError(f"{file} has no 'segments' (YouTube id, start, end, annotation), which {known.name} needs.")
    kept: Classes = {}
    seen: set[tuple[Any, ...]] = set()
    for name, videos in classes.items():
        for video in videos:
            *segment, annotation = segments[video]
            if annotation == POSITIVE and tuple(segment) not in seen:
                seen.add(tuple(segment))
                kept.setdefault(name, []).append(video)
    return kept
