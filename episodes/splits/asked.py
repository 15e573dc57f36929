"""Labelled clips, and clips to name by them, as splits: what ``fsar predict`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from episodes.listing import class_folders, find_clips, is_frame_folder, refuse_links, require, tell_left_out
from episodes.splits.dividing import settle_splits
from episodes.splits.folder import read_split
from episodes.splits.split import Split


def support_split(root: Path, class_names: Mapping[str, str] | None = None, notes: list[str] | None = None) -> Split:
    """Labelled clips, one folder per class, that unknown clips are compared with; see :class:`Folder`.

    ``notes`` gets lines on what was left out and what is there twice.

    Raises:
        ValueError: for a class without clips, or a clip in two classes or beside its own frames.
    """
    folders, left_out = class_folders(root), dict[str, list[str]]()
    refuse_links(root, folders)
    split = read_split("support", root, folders, class_names, left_out)
    _, lines = settle_splits([split], "tell", "Delete one of each.")
    if notes is not None:
        notes += [*tell_left_out(left_out), *lines]
    return split


def query_split(path: Path, class_names: tuple[str, ...], notes: list[str] | None = None) -> Split:
    """Clips to name: one video, one folder of frames, or a folder of such; their labels mean nothing. See above."""
    if not path.exists():
        require([path.name], [entry.name for entry in path.parent.glob("*")], "file or folder", path.parent)
    several, left_out = path.is_dir() and not is_frame_folder(path), dict[str, list[str]]()
    root, clips = (path, find_clips(path, None, left_out)) if several else (path.parent, [path.name])
    if notes is not None:
        notes += tell_left_out(left_out)
    return Split("query", class_names, tuple(clips), (0,) * len(clips), root)
