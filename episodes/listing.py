"""What is in a folder of clips: class folders, videos, folders of frames; and the closest match of what is not."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from episodes.video.images import SUFFIXES

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".webm", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".gif"]
)


def class_folders(root: Path) -> list[str]:
    """Names of the folders in ``root``, sorted.

    Raises:
        FileNotFoundError: when ``root`` is no folder or has none in it.
    """
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; expected a folder that holds one folder of clips per class.")
    if not root.is_dir():
        near = next((parent for parent in root.parents if parent.is_dir()), Path())
        folders = sorted(entry.name for entry in near.iterdir() if entry.is_dir())
        close = difflib.get_close_matches(root.name, folders, 1)
        there = f"{'the current folder' if near == Path() else near} has {', '.join(folders[:5]) or 'none'}."
        raise FileNotFoundError(f"there is no folder {root}; {f'did you mean {near / close[0]}?' if close else there}")
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise FileNotFoundError(f"{root} holds no folders; it must hold one folder of clips per class.")
    return folders


def find_clips(folder: Path, listed: Sequence[str] | None, ignored: dict[str, int]) -> list[str]:
    """Names of the videos and frame folders in ``folder``, sorted; or those ``listed``, when they are there.

    Args:
        folder: of one class.
        listed: the wanted clips; None for all.
        ignored: gets the number of files that are no videos, under the folder's name.

    Raises:
        ValueError: when there is no clip in it.
        FileNotFoundError: when a listed clip is not there.
    """
    entries = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    clips = [name for name in entries if is_clip(folder / name)]
    others = sorted(set(entries) - set(clips))
    if others:
        ignored[folder.name] = len(others)
    if not clips:
        found = f"only {len(others)} other entries, such as {others[0]}" if others else "nothing"
        raise ValueError(
            f"the folder {folder} has no clips: expected videos ({' '.join(sorted(VIDEO_SUFFIXES))}) or folders "
            f"of frames, found {found}."
        )
    if listed is None:
        return clips
    require(listed, clips, "clip", folder)
    return sorted(listed)


def is_clip(path: Path) -> bool:
    """True for a file with a video's suffix, and for a folder of frames."""
    return is_frame_folder(path) if path.is_dir() else path.suffix.lower() in VIDEO_SUFFIXES


def is_frame_folder(path: Path) -> bool:
    """True for a folder with an image in it; looks no further than the first."""
    with os.scandir(path) as entries:
        return any(os.path.splitext(entry.name)[1].lower() in SUFFIXES for entry in entries)


def require(wanted: Collection[str], there: Collection[str], what: str, where: Path) -> None:
    """Raises FileNotFoundError for the ``wanted`` names that are not ``there``, naming the closest match of one."""
    missing = sorted(set(wanted) - set(there))
    if missing:
        names = {name.casefold(): name for name in there}
        close = difflib.get_close_matches(missing[0].casefold(), names, 1)
        hint = f"did you mean '{names[close[0]]}'?" if close else f"it has {', '.join(sorted(there)[:5])}."
        more = f" ({len(missing)} of the {len(set(wanted))} names are missing)" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{where} has no {what} '{missing[0]}'{more}; {hint}")
