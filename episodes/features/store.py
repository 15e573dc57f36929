"""Reading a feature store, and refusing one that does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from episodes.clips import CLIP_KINDS, Clips, Contents, LowerHalf
from episodes.dataset import ClipDataset
from episodes.features.checks import (
    EXTRACT,
    FIRST,
    META,
    PARTS,
    Arrays,
    check_files,
    damaged,
    file_of,
    finite,
    is_complete,
    open_features,
    read_json,
    refuse_changes,
    sum_of,
)
from episodes.features.key import Key, differences, folder_name, store_key
from episodes.features.precision import Precision, from_numpy
from episodes.sampler import hash_words
from episodes.splits import Split
from episodes.words import pluralise

FRAMES = Contents()
CHUNK = 16
"""Videos that are encoded and written together: what an interruption can cost each process."""


class FeatureStore:
    """A complete store, open for reading. Shapes, dtype, counts and the presence of checksums are checked at once,
    the features of a video and view when they are first read in a process.

    Args:
        folder: of the store, ``<root>/<split>-<key>``.
        contents: what a store of the first format holds, in which one array had all names side by side.

    Raises:
        FileNotFoundError: when it is not there, or was not finished.
        ValueError: when its files are damaged.
    """

    def __init__(self, folder: Path, contents: Contents = FRAMES) -> None:
        if not is_complete(folder):
            parts = len(list((folder / PARTS).glob("[0-9]*.npy"))) if folder.is_dir() else 0
            state = (
                f"is not finished ({pluralise(parts, 'chunk')} of {CHUNK} videos there)"
                if folder.is_dir()
                else "is missing"
            )
            raise FileNotFoundError(f"the feature store {folder} {state}. {EXTRACT}")
        self.folder = folder
        self.meta, files, self.sums = check_files(folder)
        self.files: Arrays | None = files
        told = self.meta.get("names")
        first = contents if contents.kind is LowerHalf else FRAMES
        self.contents = first if told is None else Contents(CLIP_KINDS[self.meta["kind"]], tuple(told))
        self.views: int = self.meta["views"]
        self.dtype: Precision = self.meta["dtype"]
        self._unseen = np.full((len(self.meta["paths"]), self.views), True)

    def open_files(self) -> Arrays:
        """The files' arrays, memory-mapped."""
        if self.files is None:
            self.files = {n: open_features(file_of(self.folder, n)) for n in self.meta.get("names", FIRST)}
        return self.files

    @property
    def arrays(self) -> Arrays:
        """``(v m t *)`` by name, memory-mapped; the bits of bfloat16 as uint16."""
        files, names = self.open_files(), self.contents.names
        if "names" in self.meta:
            return files
        return dict(zip(names, np.split(files[FIRST[0]], len(names), axis=-2), strict=True))

    def take(self, videos: ArrayLike, views: ArrayLike = 0, names: Sequence[str] | None = None) -> Clips:
        """What is stored of videos ``(...)`` in views ``(...)``, such as ``frames (... t d)``; all or those asked."""
        index: Any = (videos, views)  # two numbers give a view of the file, which np.array copies
        arrays = self.arrays
        rows = {name: np.array(arrays[name][index]) for name in names or arrays}
        if self._unseen[index].any():
            for video, view in np.broadcast(videos, views):
                if self._unseen[video, view]:
                    for file, what in self.find_faults(video, view):
                        raise damaged(file, what)
                    self._unseen[video, view] = False
        return self.contents.kind({name: from_numpy(values, self.dtype) for name, values in rows.items()})

    def find_faults(self, video: int, view: int) -> Iterator[tuple[Path, str]]:
        """What is wrong with the features of a video in a view: file and words."""
        for name, array in self.open_files().items():
            rows, what = np.array(array[video, view]), None
            if sum_of(rows) != self.sums[name][video, view]:
                what = "does not hold what was written"
            elif not finite(rows, self.dtype):
                what = "holds NaN or infinity among the features"
            if what:
                yield file_of(self.folder, name), f"{what} of {self.meta['paths'][video]} (video {video}, view {view})"

    def faults(self) -> dict[int, tuple[Path, str]]:
        """``{video: what is wrong}``, from everything that is stored."""
        found: dict[int, tuple[Path, str]] = {}
        for video in range(len(self.meta["paths"])):
            for view in range(self.views):
                for fault in self.find_faults(video, view):
                    found.setdefault(video, fault)
        return found

    def verify(self) -> None:
        """Read everything and compare it with the checksums.

        Raises:
            ValueError: when bytes have changed or a feature is not finite; it names the videos.
        """
        if faults := list(self.faults().values()):
            more = f"; the same of {pluralise(len(faults) - 1, 'more video')}" if len(faults) > 1 else ""
            raise damaged(faults[0][0], faults[0][1] + more)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "files": None}  # pickling a memory map would copy the file


class StoredClips(Dataset[tuple[int, Clips]]):
    """Clips of a split as stored features; takes the place of :class:`~episodes.dataset.ClipDataset`.

    Args:
        store: of the split's features.
        split: names the videos.
        names: what is read of them; all when not given.
    """

    def __init__(self, store: FeatureStore, split: Split, names: Sequence[str] | None = None) -> None:
        self.store, self.split, self.names = store, split, names

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, video: int) -> tuple[int, Clips]:
        return video, self.clip(video)

    def clip(self, video: int, *key: int) -> Clips:
        """What is stored, such as ``frames (t d)``, in the store's precision. Without a key the view that evaluation
        uses; a key draws one of the views, the same key always the same one."""
        view = int(hash_words(0, video, *key)[0] % np.uint64(self.store.views)) if key else 0
        return self.store.take(video, view, self.names)


def open_store(root: Path, clips: ClipDataset, encoder: str | Key, contents: Contents = FRAMES) -> StoredClips:
    """The stored features of exactly these clips, from exactly this encoder.

    Args:
        root: the folder of all stores.
        clips: what would be decoded without a store.
        encoder: what turns clips into features, see :func:`episodes.features.key.store_key`.
        contents: what is to be read of them.

    Raises:
        FileNotFoundError: when there is no store with this key; the message says what differs from the closest one.
        ValueError: when a video's file has changed since, or the store lacks something that is to be read.
    """
    key = store_key(clips, encoder)
    folder = root / folder_name(clips.split, key)
    if not folder.is_dir():
        raise FileNotFoundError(_stale(root, clips.split.name, key))
    store = FeatureStore(folder, contents)
    refuse_changes(folder, store.meta, clips.split)
    if lacking := [name for name in contents.names if name not in store.arrays]:
        raise ValueError(
            f"{folder} holds {' and '.join(store.arrays)}, not {' and '.join(lacking)}, which this method reads too. "
            f"Remove it, or name another folder, and make it anew: {EXTRACT}"
        )
    return StoredClips(store, clips.split, contents.names)


def _stale(root: Path, split: str, key: dict[str, Any]) -> str:
    """Why there is no store for this key."""
    stored = {meta.parent: read_json(meta)["key"] for meta in sorted(root.glob(f"{split}-*/{META}"))}
    if not stored:
        return f"{root} holds no features of split {split}. {EXTRACT}"
    folder = min(stored, key=lambda folder: len(differences(stored[folder], key)))
    lines = "".join(f"\n  {line}" for line in differences(stored[folder], key))
    here = f"{root} holds no features of split {split} for this configuration. {folder} differs in{lines}\n"
    return f"{here}{EXTRACT} Without data.features (--data.features null) the videos are read."
