"""What a folder holds: classes, clips, and what is left out."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from episodes.listing.kinds import IMAGES, VIDEO_SUFFIXES, is_passed_over, is_video, suffix_of
from episodes.listing.names import Name, normal, resolve
from episodes.words import pluralise

SHOWN = 3
"""Files left out that a line names."""


class Listing(NamedTuple):
    """Names in a folder, sorted: those of clips, and those that are none."""

    clips: list[str]
    others: list[str]


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
    folders = sorted((entry.name for entry in _entries(root) if _is_folder(entry)), key=normal)
    if not folders:
        raise FileNotFoundError(f"{root} holds no folders; it must hold one folder of clips per class.")
    return folders


def list_clips(folder: Path, suffixes: Sequence[str] = ()) -> Listing:
    """The clips in a folder and what else is in it; hidden files and those of the system are neither. With suffixes the
    clips are files that end in one of them, such as those of joints."""
    clips: list[str] = []
    others: list[str] = []
    for entry in _entries(folder):
        if suffixes:
            is_clip = entry.name.endswith(tuple(suffixes)) and not _is_folder(entry)
        else:
            is_clip = is_frame_folder(entry.path) if _is_folder(entry) else is_video(entry.path)
        (clips if is_clip else others).append(entry.name)
    return Listing(sorted(clips, key=normal), sorted(others, key=normal))


def find_clips(
    folder: Path, listed: Sequence[Name] | None, left_out: dict[str, list[str]], suffixes: Sequence[str] = ()
) -> list[str]:
    """Names of the videos and frame folders in ``folder``, sorted; or those ``listed``, when they are there.

    Args:
        folder: of one class.
        listed: the wanted clips; None for all.
        left_out: gets the names of what is no clip, under the folder's name.
        suffixes: of the clips, where they are no videos.

    Raises:
        ValueError: when there is no clip in it.
        FileNotFoundError: when a listed clip is not there.
    """
    clips, others = list_clips(folder, suffixes)
    if others:
        left_out[folder.name] = others
    if not clips and suffixes:
        raise ValueError(f"the folder {folder} has no clips: expected files that end in {', '.join(suffixes)}.")
    if not clips:
        raise ValueError(f"the folder {folder} has no clips: {explain_no_clips(folder, others)}")
    if listed is None:
        return clips
    if not listed:
        raise ValueError(f"no clip of {folder} is listed: list some, or leave the class out.")
    return sorted(resolve(listed, clips, "clip", folder), key=normal)


def refuse_links(root: Path, folders: Sequence[str]) -> None:
    """Refuse two class folders that are one folder on disk.

    Raises:
        ValueError: naming both.
    """
    real: dict[str, str] = {}
    for folder in folders:
        first = real.setdefault(os.path.realpath(root / folder), folder)
        if first != folder:
            raise ValueError(
                f"the class folders {first} and {folder} in {root} are one folder, by a link: its clips would stand in "
                "two classes. Remove the link, or list only one of them."
            )


def explain_no_clips(folder: Path, others: Sequence[str]) -> str:
    """What a class folder without clips should hold, what it holds, and how to mend it."""
    real = Path(os.path.realpath(folder))
    if real in (parents := Path(os.path.realpath(folder.parent)), *parents.parents):
        return f"it is a link that leads back to {real}: remove it."
    deeper = [name for name in others if (folder / name).is_dir() and list_clips(folder / name).clips]
    if deeper:
        return f"its clips lie a level deeper, such as in {folder / deeper[0]}: move them up, or take {folder} as root."
    images = [name for name in others if suffix_of(name) in IMAGES]
    if images:
        return f"images lie in it, such as {images[0]}: put those of each clip into a folder of its own in {folder}."
    if others and all(suffix_of(name) in (".npz", ".npy") for name in others):
        return (
            f"arrays lie in it, such as {others[0]}. Joints are clips of a configuration alone: episodes.splits.Folder "
            "with clips: joints, for fsar fit and test."
        )
    found = f"only {pluralise(len(others), 'other entry')}, such as {others[0]}" if others else "nothing"
    common = "mp4 avi mkv mov webm mpg ..."
    return f"expected videos ({common}, {len(VIDEO_SUFFIXES)} suffixes) or folders of frames, found {found}."


def is_frame_folder(path: str | os.PathLike[str]) -> bool:
    """True for a folder that is a clip: it holds images and no video.

    One that holds more folders with clips or images than images is a folder of clips with a stray image in it.
    """
    images, folders = 0, []
    for entry in _entries(path):
        if _is_folder(entry):
            folders.append(entry.path)
        elif suffix_of(entry.name) in IMAGES:
            images += 1
        elif is_video(entry.path):
            return False
    return images > 0 and (images > len(folders) or not any(map(_holds_clip, folders)))


def tell_left_out(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    """One line on what is no clip, by class folder; none when everything is.

    >>> tell_left_out({})
    []
    """
    names = [f"{folder}/{name}" for folder, others in left_out.items() for name in others]
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    counted = f"{pluralise(len(names), 'entry')} that {'is no clip' if len(names) == 1 else 'are no clips'}"
    return [f"left out: {counted} ({shown})"] if names else []


def _holds_clip(folder: str) -> bool:
    return any(suffix_of(entry.name) in IMAGES or is_video(entry.path) for entry in _entries(folder))


def _entries(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not is_passed_over(entry.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Also a link to one; a link to itself is none."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
