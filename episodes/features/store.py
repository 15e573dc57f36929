"""Reading a feature store, and refusing one that does not fit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from episodes.dataset import ClipDataset
from episodes.features.key import Key, differences, folder_name, store_key
from episodes.features.precision import Precision, from_numpy
from episodes.sampler import hash_words
from episodes.splits import Split

CHUNK = 16
"""Videos that are encoded, written and checked together: what an interruption can cost each process."""

EXTRACT = "`python tools/extract_features.py --store FOLDER` with the same -c files and options makes it."


class FeatureStore:
    """A complete store, open for reading.

    Args:
        folder: of the store, ``<root>/<split>-<key>``.

    Raises:
        FileNotFoundError: when it is not there, or was not finished.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "features.npy").is_file():
            parts = len(list((folder / "parts").glob("[0-9]*.npy"))) if folder.is_dir() else 0
            state = f"is not finished ({parts} chunks of {CHUNK} videos are there)" if folder.is_dir() else "is missing"
            raise FileNotFoundError(f"the feature store {folder} {state}. {EXTRACT}")
        self.folder = folder
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        self.views: int = self.meta["views"]
        self.dtype: Precision = self.meta["dtype"]
        self._features: NDArray[np.generic] | None = None

    @property
    def features(self) -> NDArray[np.generic]:
        """``(v m t *)``, memory-mapped; the bits of bfloat16 as uint16."""
        if self._features is None:
            self._features = np.load(self.folder / "features.npy", mmap_mode="r")
        return self._features

    def take(self, videos: ArrayLike, views: ArrayLike = 0) -> Tensor:
        """Features ``(... t d)`` or tokens ``(... t p w)`` of videos ``(...)`` in views ``(...)``, as stored."""
        index: Any = (videos, views)  # two numbers give a view of the file, which np.array copies
        return from_numpy(np.array(self.features[index]), self.dtype)

    def verify(self) -> None:
        """Read everything and compare it with the checksums.

        Raises:
            ValueError: when bytes have changed or a feature is not finite; it names the videos.
        """
        sums, paths = json.loads((self.folder / "checksums.json").read_text()), self.meta["paths"]
        for number, start in enumerate(range(0, len(paths), CHUNK)):
            rows = self.features[start : start + CHUNK]
            if checksum(rows) != sums[number] or not from_numpy(np.array(rows), self.dtype).isfinite().all():
                raise ValueError(
                    f"{self.folder / 'features.npy'}: the features of videos {start} to {start + len(rows) - 1} "
                    f"({paths[start]} and following) are not what was written. Remove the folder and extract again."
                )

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
    for video, size in enumerate(store.meta["sizes"]):
        if (now := size_of(clips.split.path(video))) not in (None, size):
            raise ValueError(
                f"{clips.split.path(video)} has changed since its features were stored in {folder}: {size} bytes "
                f"then, {now} now. Remove that folder and extract again."
            )
    return StoredClips(store, clips.split)


def _stale(root: Path, split: str, key: dict[str, Any]) -> str:
    """Why there is no store for this key."""
    stored = {meta.parent: json.loads(meta.read_text())["key"] for meta in sorted(root.glob(f"{split}-*/meta.json"))}
    if not stored:
        return f"{root} holds no features of split {split}. {EXTRACT}"
    folder = min(stored, key=lambda folder: len(differences(stored[folder], key)))
    lines = "".join(f"\n  {line}" for line in differences(stored[folder], key))
    here = f"{root} holds no features of split {split} for this configuration. {folder} differs in{lines}\n"
    return f"{here}{EXTRACT} Without data.features (--data.features null) the videos are read."


def checksum(rows: NDArray[np.generic]) -> str:
    """sha256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


def size_of(path: Path) -> int | None:
    """Bytes of a file, number of entries of a folder of frames; None when it is not there."""
    if path.is_dir():
        return sum(1 for _ in path.iterdir())
    return path.stat().st_size if path.is_file() else None
