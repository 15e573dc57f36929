"""A tree of folders as data sets see it: which of them are classes, with how many clips, and which would be refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from episodes.listing.folders import SHOWN, explain_no_clips, is_frame_folder, list_clips
from episodes.words import pluralise


@dataclass(frozen=True)
class Surveyed:
    """One folder.

    Args:
        folder: its path.
        clips: paths of the clips in it.
        word: how many they are and what is left out, or why it would be refused as a class.
    """

    folder: Path
    clips: tuple[Path, ...]
    word: str


def survey(root: Path) -> Iterator[Surveyed]:
    """``root`` and the folders below it, but for clips, each once whatever links there are; a clip by itself."""
    if is_frame_folder(root):
        yield Surveyed(root, (root,), "1 clip, a folder of frames")
        return
    seen: dict[str, Path] = {}
    folders = [root]
    while folders:
        folder = folders.pop()
        first = seen.setdefault(os.path.realpath(folder), folder)
        if first is not folder:
            yield Surveyed(folder, (), f"refused: a link to {first}")
            continue
        clips, others = list_clips(folder)
        inside = [folder / name for name in others if (folder / name).is_dir()]
        if clips or folder != root:
            word = _describe(folder, clips, others)
            if folder == root and inside and clips:
                word += f"; as a class {clips[0]} is refused: it is a clip itself, and holds none"
            yield Surveyed(folder, tuple(folder / name for name in clips), word)
        folders += inside[::-1]


def _describe(folder: Path, clips: list[str], others: list[str]) -> str:
    if not clips:
        return f"refused as a class: {explain_no_clips(folder, others)}"
    counted = pluralise(len(clips), "clip")
    shown = ", ".join(others[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
    return f"{counted}, {len(others)} left out ({shown})" if others else counted
