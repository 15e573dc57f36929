"""Reading a feature store, and refusing one that does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from episodes.dataset import ClipDataset
from episodes.features.checks import (
    EXTRACT,
    FEATURES,
    META,
    check_files,
    damaged,
    finite,
    open_features,
    read_json,
    refuse_changes,
    sum_of,
)
from episodes.features.key import Key, differences, folder_name, store_key
from episodes.features.precision import Precision, from_numpy
from episodes.sampler import hash_words
from episodes.splits import Split

CHUNK = 16
"""Videos that are encoded and written together: what an interruption can cost each process."""


class FeatureStore:
    """A complete store, open for reading. Shapes, dtype, counts and the presence of checksums are checked at once,
    the features of a video and view when they are first read in a process.

    Args:
        folder: of the store, ``<root>/<split>-<key>``.

    Raises:
        FileNotFoundError: when it is not there, or was not finished.
        ValueError: when its files are damaged.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / FEATURES).is_file():
            parts = len(list((folder / "parts").glob("[0-9]*.npy"))) if folder.is_dir() else 0
            state = f"is not finished ({parts} chunks of {CHUNK} videos are there)" if folder.is_dir() else "is missing"
            raise FileNotFoundError(f"the feature store {folder} {state}. {EXTRACT}")
        self.folder = folder
        self.meta, self.sums = check_files(folder)
        self.views: int = self.meta["views"]
        self.dtype: Precision = self.meta["dtype"]
        self._unseen = np.full((len(self.meta["paths"]), self.views), self.sums is not None)
        self._features: NDArray[np.generic] | None = None

    @property
    def features(self) -> NDArray[np.generic]:
        """``(v m t *)``, memory-mapped; the bits of bfloat16 as uint16."""
        if self._features is None:
            self._features = open_features(self.folder)
        return self._features

    def take(self, videos: ArrayLike, views: ArrayLike = 0) -> Tensor:
        """Features ``(... t d)`` or tokens ``(... t p w)`` of videos ``(...)`` in views ``(...)``, as stored."""
        index: Any = (videos, views)  # two numbers give a view of the file, which np.array copies
        rows = np.array(self.features[index])
        if self._unseen[index].any():
            for video, view in np.broadcast(videos, views):
                if self._unseen[video, view]:
                    if what := self.fault(video, view):
                        raise damaged(self.folder / FEATURES, what)
                    self._unseen[video, view] = False
        return from_numpy(rows, self.dtype)

    def fault(self, video: int, view: int) -> str | None:
        """What is wrong with the features of a video in a view, or None."""
        rows = np.array(self.features[video, view])
        what = None
        if self.sums is not None and sum_of(rows) != self.sums[video, view]:
            what = "does not hold what was written"
        elif not finite(rows, self.dtype):
            what = "holds NaN or infinity among the features"
        return what and f"{what} of {self.meta['paths'][video]} (video {video}, view {view})"

    def faults(self) -> dict[int, str]:
        """``{video: what is wrong}``, from everything that is stored."""
        found: dict[int, str] = {}
        for video in range(len(self.meta["paths"])):
            for what in filter(None, (self.fault(video, view) for view in range(self.views))):
                found.setdefault(video, what)
        return found

    def verify(self) -> None:
        """Read everything and compare it with the checksums.

        Raises:
            ValueError: when bytes have changed or a feature is not finite; it names the videos.
        """
        if faults := list(self.faults().values()):
            more = f"; the same of {len(faults) - 1} more videos" if len(faults) > 1 else ""
            raise damaged(self.folder / FEATURES, faults[0] + more)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_features": None}  # pickling a memory map would copy the file


class StoredClips(Dataset[tuple[int, Tensor]]):
    """Clips of a split as stored features; takes the place of :class:`~episodes.dataset.ClipDataset`.

    Args:
        store: of the split's features.
        split: names the videos.
    """

    def __init__(self, store: FeatureStore, split: Split) -> None:
        self.store, self.split = store, split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, video: int) -> tuple[int, Tensor]:
        return video, self.clip(video)

    def clip(self, video: int, *key: int) -> Tensor:
        """Features ``(t d)`` or tokens ``(t p w)`` in the store's precision. Without a key the view that evaluation
        uses; a key draws one of the views, the same key always the same one."""
        view = int(hash_words(0, video, *key)[0] % np.uint64(self.store.views)) if key else 0
        return self.store.take(video, view)


def open_store(root: Path, clips: ClipDataset, encoder: str | Key) -> StoredClips:
    """The stored features of exactly these clips, from exactly this encoder.

    Args:
        root: the folder of all stores.
        clips: what would be decoded without a store.
        encoder: what turns clips into features, see :func:`episodes.features.key.store_key`.

    Raises:
        FileNotFoundError: when there is no store with this key; the message says what differs from the closest one.
        ValueError: when a video's file has changed since.
    """
    key = store_key(clips, encoder)
    folder = root / folder_name(clips.split, key)
    if not folder.is_dir():
        raise FileNotFoundError(_stale(root, clips.split.name, key))
    store = FeatureStore(folder)
    refuse_changes(folder, store.meta, clips.split)
    return StoredClips(store, clips.split)


def _stale(root: Path, split: str, key: dict[str, Any]) -> str:
    """Why there is no store for this key."""
    stored = {meta.parent: read_json(meta)["key"] for meta in sorted(root.glob(f"{split}-*/{META}"))}
    if not stored:
        return f"{root} holds no features of split {split}. {EXTRACT}"
    folder = min(stored, key=lambda folder: len(differences(stored[folder], key)))
    lines = "".join(f"\n  {line}" for line in differences(stored[folder], key))
    here = f"{root} holds no features of split {split} for this configuration. {folder} differs in{lines}\n"
    return f"{here}{EXTRACT} Without data.features (--data.features null) the videos are read."
