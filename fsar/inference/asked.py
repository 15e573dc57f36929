"""What a prediction is asked with: clips by class, and the clips to name; each a path that is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from episodes.listing.duplicates import find_equal
from episodes.video import VideoError
from episodes.video.packed import is_packed

PathLike = str | os.PathLike[str]


def as_list(clips: PathLike | Sequence[PathLike]) -> list[PathLike]:
    """The clips; one that stands by itself, whose letters are no clips, as a list of one.

    Raises:
        ValueError: for what is neither.
    """
    if isinstance(clips, Mapping) or not isinstance(clips, Iterable | os.PathLike):
        raise ValueError(f"expected the path of a clip, or a list of paths; found {clips!r}.")
    found = [clips] if isinstance(clips, str | bytes | os.PathLike) else list(clips)
    if wrong := [clip for clip in found if not isinstance(clip, str | os.PathLike)]:
        raise ValueError(f"expected the path of a clip as text or Path, found {wrong[0]!r}.")
    return found


def find_itself(labels: Mapping[str, int], files: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """``{file: class}`` of the files that are support clips of a class, by their path or by their content.

    Args:
        labels: ``{file: label}`` of the support clips.
        files: all, the support clips first.
        names: of the classes.
    """
    found = {file: names[label] for file, label in labels.items()}
    for first, *others in find_equal(list(map(Path, files))) if os.path.exists(files[0]) else []:
        if files[first] in labels:
            found |= {files[other]: names[labels[files[first]]] for other in others if files[other] not in labels}
    return found


def label_clips(support: Mapping[str, PathLike | Sequence[PathLike]], look: bool = True) -> dict[str, int]:
    """``{absolute path: label}`` of the support clips, whose files must be there where ``look`` is true.

    Raises:
        VideoError: for a clip that is not there.
        ValueError: for fewer than two classes, a class without clips, or a clip in two classes.
    """
    if not isinstance(support, Mapping):
        raise ValueError(f"support must be {{class: clips}}, found {support!r}; `fsar predict` takes a folder.")
    listed = {name: as_list(clips) for name, clips in support.items()}
    for name, clips in listed.items():
        for path in map(Path, clips):
            if look and not path.exists() and not is_packed(path.absolute()):
                raise VideoError(path, f"there is no such file, which support gives for the class {name}")
    if len(support) < 2:
        raise ValueError(f"support needs two classes or more to choose between, found {list(support)}.")
    if empty := [name for name, clips in listed.items() if not clips]:
        raise ValueError(f"support holds no clip of {', '.join(empty)}: give every class one clip or more.")
    labels: dict[str, int] = {}
    for label, (name, clips) in enumerate(listed.items()):
        for clip in clips:
            if labels.setdefault(os.path.abspath(clip), label) != label:
                raise ValueError(f"{clip} stands in {name} and in another class: a clip belongs to one class.")
    return labels
