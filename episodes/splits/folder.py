"""Your own folders of clips as a benchmark."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from episodes.annotations import JOINT_SUFFIXES
from episodes.listing import (
    Name,
    Twice,
    as_names,
    class_folders,
    find_clips,
    normal,
    refuse_links,
    resolve,
    resolve_names,
    tell_left_out,
)
from episodes.splits.dividing import WAY_OUT, check_options, divide, explain_root, settle_splits
from episodes.splits.split import Benchmark, Split, refuse_shared
from episodes.words import pluralise

Classes = list[Name] | dict[Name, list[Name]]
Folders = list[str] | dict[str, list[Name]]  # the same by the names on disk


class Folder:
    """Your own clips: ``root/<class>/<clip>`` is a dataset.

    A clip is a video file or a folder of frames (images); or, with ``clips="joints"``, a file of joints. Classes go to
    the splits by three explicit lists, or by a seeded random division of all of them. Files that are no clips are left
    out, said in one line and recorded in results; hidden files (``.name``) and those of the system (``Thumbs.db``,
    ``__MACOSX``) are not looked at.

    Args:
        root: the folder that holds one folder per class.
        train: folders of the training classes; or ``{folder: [clip, ...]}`` to name the clips as well.
        val: of the validation classes; ``[]`` for none, and then the last checkpoint is kept instead of the best.
        test: of the test classes.
        class_names: ``{folder: text}``, what a text encoder reads; otherwise the folder's name, underscores as spaces.
        seed: divides the classes at random instead of by lists; the same seed gives the same division everywhere.
        fractions: shares of train, val and test classes when divided at random; they add up to 1.
        name: of the benchmark in results; the folder's name when left out.
        twice: what becomes of clips that lie there twice. "tell": copies in one class are told and taken; a copy in
            another class, and a video beside its own frames, are refused. "drop": one of a class is taken, and none of
            those in two classes. "keep": all are taken. Results list them.
        clips: "videos"; or "joints" for files of joints alone (.npz, .npy, .csv, .json), which SkeletonViews reads.

    Raises:
        ValueError: when lists and seed contradict each other, classes are listed twice or have no clips, or clips are
            there twice.
        FileNotFoundError: when a folder or a clip is missing; the message names the closest one there is.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: Classes | None = None,
        val: Classes | None = None,
        test: Classes | None = None,
        class_names: dict[Name, Name] | None = None,
        seed: int | None = None,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        name: str | None = None,
        twice: Twice = "tell",
        clips: Literal["videos", "joints"] = "videos",
    ) -> None:
        if clips not in ("videos", "joints"):
            raise ValueError(f"Folder: clips is videos or joints, found {clips!r}.")
        lists = {"train": train, "val": val, "test": test}
        missing = [key for key, value in lists.items() if value is None]
        if seed is None and missing:
            raise ValueError(
                f"Folder: {', '.join(missing)} not given. List the classes of train, val and test (val: [] for no "
                "validation), or give a seed to divide all classes at random."
            )
        if seed is not None and len(missing) < 3:
            raise ValueError("Folder: give either lists of classes or a seed, not both.")
        check_options("Folder", fractions, twice)
        self.root, self.class_names, self.seed, self.fractions = Path(root), class_names or {}, seed, fractions
        self.lists: dict[str, Classes] = {key: _read(value, key) for key, value in lists.items() if value is not None}
        self.name, self.twice = name or self.root.resolve().name, twice
        self.suffixes = JOINT_SUFFIXES if clips == "joints" else ()

    def load(self) -> Benchmark:
        """Reads the folders; the order of classes is that of the lists, or alphabetical, and clips are sorted."""
        folders = folders_of(self.root)
        names = resolve_names(self.class_names, folders, "class_names", self.root)
        lists = self._listed(folders) if self.lists else self._divided(folders)
        refuse_links(self.root, list(dict.fromkeys(folder for classes in lists.values() for folder in classes)))
        left_out: dict[str, list[str]] = {}
        keys = ("train", "val", "test")
        splits = [read_split(key, self.root, lists[key], names, left_out, self.suffixes) for key in keys]
        refuse_shared(self.name, splits)  # before what is listed twice is told as a copy
        twins, notes = settle_splits(splits, self.twice, WAY_OUT)
        train, val, test = [split.without(twins) if self.twice == "drop" else split for split in splits]
        facts = {"files_left_out": {folder: len(others) for folder, others in left_out.items()}, "clips_twice": twins}
        return Benchmark(self.name, train, val, test, facts, (*tell_left_out(left_out), *notes))

    def _listed(self, folders: Sequence[str]) -> dict[str, Folders]:
        """The lists, with the folders' names as they are on disk."""
        listed = [name for classes in self.lists.values() for name in classes]
        found = iter(resolve(listed, folders, "class folder", self.root))
        return {
            key: {next(found): clips for clips in classes.values()}
            if isinstance(classes, dict)
            else [next(found) for _ in classes]
            for key, classes in self.lists.items()
        }

    def _divided(self, folders: Sequence[str]) -> dict[str, Folders]:
        assert self.seed is not None  # the constructor has seen to it
        return {
            **divide(folders, self.seed, self.fractions, f"Folder: {pluralise(len(folders), 'class')} in {self.root}")
        }


def _read(classes: object, split: str) -> Any:
    if not isinstance(classes, Mapping):
        return as_names(classes, f"Folder: {split}")
    what = f"Folder: {split}, the clips of"
    return {
        folder: clips if clips is None else as_names(clips, f"{what} {folder}") for folder, clips in classes.items()
    }


def read_split(
    name: str,
    root: Path,
    classes: Folders,
    class_names: Mapping[str, str] | None = None,
    left_out: dict[str, list[str]] | None = None,
    suffixes: Sequence[str] = (),
) -> Split:
    """The clips of some class folders as a split; see :class:`Folder` for the arguments."""
    left_out = {} if left_out is None else left_out
    names = {folder: normal(folder).replace("_", " ") for folder in classes} | dict(class_names or {})
    found = {
        folder: find_clips(root / folder, classes[folder] if isinstance(classes, dict) else None, left_out, suffixes)
        for folder in classes
    }
    return Split(
        name=name,
        class_names=tuple(names[folder] for folder in classes),
        paths=tuple(f"{folder}/{clip}" for folder, clips in found.items() for clip in clips),
        labels=tuple(label for label, clips in enumerate(found.values()) for _ in clips),
        root=root,
    )


def folders_of(root: Path) -> list[str]:
    """:func:`episodes.listing.class_folders`; where there is none, the message says how another one is named."""
    try:
        return class_folders(root)
    except FileNotFoundError as error:
        if root.is_dir():
            raise
        raise FileNotFoundError(f"{error} {explain_root(root)}") from None
