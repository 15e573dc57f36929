"""Features of a frozen encoder on disk, so that every video is decoded and encoded once for all runs.

A store is a folder ``<root>/<split>-<key>`` whose key is a hash of everything that decides the numbers in it: the
encoder and its weights, frames, frame sampler, transform, reader and the list of videos. Another configuration has
another key, so features that do not belong to it are never read; :func:`open_store` says what differs.

The features are one ``.npy`` file, ``(v m t d)`` for ``v`` videos in ``m`` views: numpy's own documented format, readable
by everything and for good. It is memory-mapped, so that an episode costs the pages it touches (measured: 0.02 ms for
30 clips; safetensors 0.3, LMDB 0.13, zarr 9) and all processes on a machine share one copy.

Writing is safe against anything that can stop it. Work is cut into chunks of 16 videos; a chunk becomes a file in
``parts/`` under a temporary name, reaches the disk, and is renamed. Whatever has its final name is therefore complete,
and a second start goes on with the chunks that are missing. Two writers at once do no harm: each looks whether a chunk
is there before it makes it, and if both make the same one, the later rename replaces equal by equal. At last the parts
are joined, checksums are taken, and the joined file is renamed too: its existence means that the store is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from episodes.dataset import ClipDataset
from episodes.sampler import hash_words
from episodes.splits import Split

FORMAT = 1
"""Of the stores; raised when the same key would no longer give the same numbers."""

CHUNK = 16
"""Videos that are encoded and written together: what an interruption can cost each process."""

Precision = Literal["float16", "float32"]
Key = dict[str, Any]


class FeatureStore:
    """A complete store, open for reading.

    Args:
        folder: of the store, ``<root>/<split>-<key>``.

    Raises:
        FileNotFoundError: when it is not there, or not complete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "features.npy").is_file():
            raise FileNotFoundError(f"{folder} is no complete feature store. {EXTRACT}")
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        self.views: int = self.meta["views"]
        self._features: NDArray[np.floating] | None = None

    @property
    def features(self) -> NDArray[np.floating]:
        """``(v m t d)``, memory-mapped, float16 or float32."""
        if self._features is None:
            self._features = np.load(self.folder / "features.npy", mmap_mode="r")
        return self._features

    def take(self, videos: ArrayLike, views: ArrayLike = 0) -> Tensor:
        """Features ``(... t d)`` float32 of videos ``(...)`` in views ``(...)``."""
        return torch.from_numpy(np.asarray(self.features[np.asarray(videos), np.asarray(views)])).float()

    def verify(self) -> None:
        """Read everything and compare it with the checksums.

        Raises:
            ValueError: when bytes have changed or a feature is not finite; it names the videos.
        """
        sums = json.loads((self.folder / "checksums.json").read_text())
        paths = self.meta["paths"]
        for number, start in enumerate(range(0, len(paths), CHUNK)):
            rows = self.features[start : start + CHUNK]
            if _checksum(rows) != sums[number] or not np.isfinite(rows).all():
                raise ValueError(
                    f"{self.folder}/features.npy: the features of videos {start} to {start + len(rows) - 1} "
                    f"({paths[start]} and following) are not what was written. Remove the folder and extract again."
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_features": None}  # a memory map would be copied into the pickle


class FeatureWriter:
    """Fills a store, chunk by chunk, from any number of processes and in any number of attempts.

    Args:
        root: the folder of all stores.
        clips: the clips to encode; they decide the key, together with ``encoder``.
        encoder: hash of what turns clips into features.
        views: of every video. View 0 is the one that evaluation uses, the others are drawn at random.
        dtype: float32, or float16 with half the size and a rounding of 0.05 %.

    Raises:
        ValueError: when more than one view is asked of clips that are not random, or the store exists with another
            number of views or another dtype.
    """

    def __init__(
        self, root: Path, clips: ClipDataset, encoder: str, views: int = 1, dtype: Precision = "float32"
    ) -> None:
        key = store_key(clips, encoder)
        if views > 1 and key["seed"] is None:
            raise ValueError(
                f"{views} views of split {clips.split.name} were asked for, but its frames and transform have no "
                "randomness: all views would be equal. Ask for one view, or choose a random sampler or transform."
            )
        self.clips, self.views, self.dtype = clips, views, np.dtype(dtype)
        self.folder = root / folder_name(clips.split, key)
        self.parts = self.folder / "parts"
        self.parts.mkdir(parents=True, exist_ok=True)
        meta = {
            "key": key,
            "views": views,
            "dtype": dtype,
            "paths": clips.split.paths,
            "sizes": [_size(clips.split.path(video)) for video in range(len(clips))],
        }
        _create(self.folder / "meta.json", json.dumps(meta, indent=1))
        found = json.loads((self.folder / "meta.json").read_text())
        if (found["views"], found["dtype"]) != (views, dtype):
            raise ValueError(
                f"{self.folder} holds {found['views']} views in {found['dtype']}, but {views} in {dtype} were asked "
                "for. Name another --store folder, or remove this one."
            )

    @property
    def complete(self) -> bool:
        """Whether the store can be opened."""
        return (self.folder / "features.npy").is_file()

    def pending(self) -> list[int]:
        """Numbers of the chunks that nobody has written yet."""
        if self.complete:
            return []
        return [chunk for chunk in range(-(-len(self.clips) // CHUNK)) if not self.written(chunk)]

    def written(self, chunk: int) -> bool:
        """Whether a chunk is there."""
        return self._part(chunk).is_file() or self.complete

    def videos(self, chunk: int) -> range:
        """Numbers of the videos in a chunk."""
        return range(len(self.clips))[chunk * CHUNK : (chunk + 1) * CHUNK]

    def read(self, chunk: int) -> Tensor:
        """The clips of a chunk in all views, uint8 ``(b m t c h w)``."""
        keys: list[tuple[int, ...]] = [(), *((view,) for view in range(1, self.views))]
        return torch.stack(
            [torch.stack([self.clips.clip(video, *key) for key in keys]) for video in self.videos(chunk)]
        )

    def write(self, chunk: int, features: Tensor) -> None:
        """Keep the features ``(b m t d)`` of a chunk.

        Raises:
            ValueError: when they have another shape or are not finite.
        """
        values = features.float().cpu().numpy().astype(self.dtype)
        expected = (len(self.videos(chunk)), self.views, self.clips.frames)
        if values.shape[:3] != expected:
            raise ValueError(f"features of chunk {chunk} must begin with shape {expected}, found {values.shape}.")
        for video, rows in zip(self.videos(chunk), values, strict=True):
            if not np.isfinite(rows).all():
                raise ValueError(
                    f"features of {self.clips.split.path(video)} are not finite in {self.dtype}: check the encoder's "
                    "weights and precision, or store float32."
                )
        part = self._part(chunk)
        with _temporary(part).open("wb") as file:
            np.save(file, values)
            _to_disk(file)
        _temporary(part).replace(part)

    def finish(self) -> FeatureStore:
        """Join the chunks when all are there; a second writer that does the same at the same time does no harm.

        Raises:
            RuntimeError: when chunks are missing; start the extraction again to go on.
        """
        if missing := self.pending():
            raise RuntimeError(f"{self.folder} lacks {len(missing)} chunks; start the extraction again to go on.")
        if not self.complete:
            try:
                self._join()
            except FileNotFoundError:  # another writer has joined the parts and cleared them away meanwhile
                if not self.complete:
                    raise
        shutil.rmtree(self.parts, ignore_errors=True)
        return FeatureStore(self.folder)

    def _join(self) -> None:
        chunks = range(-(-len(self.clips) // CHUNK))
        first = np.load(self._part(0))
        whole, sums = _temporary(self.folder / "features.npy"), []
        header = {"descr": first.dtype.str, "fortran_order": False, "shape": (len(self.clips), *first.shape[1:])}
        with whole.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in chunks:
                rows = np.load(self._part(chunk))
                sums.append(_checksum(rows))
                file.write(rows.tobytes())
            _to_disk(file)
        checksums = _temporary(self.folder / "checksums.json")
        checksums.write_text(json.dumps(sums))
        checksums.replace(self.folder / "checksums.json")
        whole.replace(self.folder / "features.npy")

    def _part(self, chunk: int) -> Path:
        return self.parts / f"{chunk:06d}.npy"
