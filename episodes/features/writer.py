"""Filling a feature store, from any number of processes and in any number of attempts."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from episodes.dataset import ClipDataset
from episodes.features.key import Key, folder_name, store_key
from episodes.features.precision import Precision, rounded, to_numpy
from episodes.features.store import CHUNK, FeatureStore, checksum, size_of


class FeatureWriter:
    """Fills a store chunk by chunk.

    Args:
        root: the folder of all stores.
        clips: the clips to encode; they decide the key, together with ``encoder``.
        encoder: what turns clips into features, see :func:`episodes.features.key.store_key`.
        views: of every video. View 0 is the one that evaluation uses, the others are drawn at random.
        dtype: float32; float16 for half the size and a relative rounding of at most 0.05 %; or bfloat16 for the same
            size and 0.4 %, which loses nothing of an encoder whose weights are bfloat16.

    Raises:
        ValueError: when several views are asked of clips that are not random, or the store exists with another number
            of views or another dtype.
    """

    def __init__(
        self, root: Path, clips: ClipDataset, encoder: str | Key, views: int = 1, dtype: Precision = "float32"
    ) -> None:
        key = store_key(clips, encoder)
        if views > 1 and key["seed"] is None:
            raise ValueError(
                f"{views} views of split {clips.split.name} were asked for, but neither its frame sampler nor its "
                "transform is random: all views would be equal. Ask for one, or choose a random sampler or transform."
            )
        self.clips, self.views, self.dtype = clips, views, dtype
        self.folder = root / folder_name(clips.split, key)
        self.parts = self.folder / "parts"
        self.parts.mkdir(parents=True, exist_ok=True)
        sizes = [size_of(clips.split.path(video)) for video in range(len(clips))]
        meta = {"key": key, "views": views, "dtype": dtype, "paths": clips.split.paths, "sizes": sizes}
        _create(self.folder / "meta.json", lambda file: file.write(json.dumps(meta, indent=1).encode()))
        found = json.loads((self.folder / "meta.json").read_text())
        if (found["views"], found["dtype"]) != (views, dtype):
            raise ValueError(
                f"{self.folder} holds {found['views']} views in {found['dtype']}, but {views} in {dtype} were asked "
                "for. Name another store folder, or remove this one."
            )

    def __len__(self) -> int:
        """Number of chunks."""
        return -(-len(self.clips) // CHUNK)

    @property
    def complete(self) -> bool:
        """Whether the store can be opened."""
        return (self.folder / "features.npy").is_file()

    def written(self, chunk: int) -> bool:
        """Whether a chunk is there."""
        return self._part(chunk).is_file() or self.complete

    def pending(self) -> list[int]:
        """Numbers of the chunks that nobody has written yet."""
        return [chunk for chunk in range(len(self)) if not self.written(chunk)]

    def videos(self, chunk: int) -> range:
        """Numbers of the videos in a chunk."""
        return range(len(self.clips))[chunk * CHUNK : (chunk + 1) * CHUNK]

    def read(self, chunk: int) -> Tensor:
        """The clips of a chunk in all views: uint8 ``(b m t c h w)``."""
        keys: list[tuple[int, ...]] = [(), *((view,) for view in range(1, self.views))]
        return torch.stack(
            [torch.stack([self.clips.clip(video, *key) for key in keys]) for video in self.videos(chunk)]
        )

    def write(self, chunk: int, features: Tensor) -> None:
        """Keep the features ``(b m t d)`` or tokens ``(b m t p w)`` of a chunk; when another writer was first, keep
        that one's.

        Raises:
            ValueError: when they have another shape or are not finite in the store's dtype.
        """
        values = rounded(features, self.dtype)
        expected = (len(self.videos(chunk)), self.views, self.clips.frames)
        if values.shape[:3] != expected:
            found = tuple(values.shape)
            raise ValueError(f"the features of chunk {chunk} must begin with shape {expected}, found {found}.")
        for video, rows in zip(self.videos(chunk), values, strict=True):
            if not rows.isfinite().all():
                raise ValueError(
                    f"features of {self.clips.split.path(video)} are not finite in {self.dtype}: check the encoder's "
                    "weights and precision, or store float32."
                )
        _create(self._part(chunk), lambda file: np.save(file, to_numpy(values)))

    def rounded(self, features: Tensor) -> Tensor:
        """Features in the store's precision on the CPU, for those who make a chunk bit by bit."""
        return rounded(features, self.dtype)

    def finish(self) -> FeatureStore:
        """Join the chunks. Two writers may do so at once: both write the same bytes.

        Raises:
            RuntimeError: when chunks are missing.
        """
        if missing := len(self.pending()):
            raise RuntimeError(f"{self.folder} lacks {missing} of {len(self)} chunks; start the extraction again.")
        try:
            if not self.complete:
                self._join()
        except FileNotFoundError:  # another writer has joined the parts meanwhile and cleared them away
            if not self.complete:
                raise
        shutil.rmtree(self.parts, ignore_errors=True)
        return FeatureStore(self.folder)

    def _join(self) -> None:
        first = np.load(self._part(0))
        shape = (len(self.clips), *first.shape[1:])
        sums: list[str] = []

        def join(file: BinaryIO) -> None:
            header = {"descr": first.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in range(len(self)):
                rows = np.load(self._part(chunk))
                sums.append(checksum(rows))
                file.write(rows.tobytes())

        whole = _written(self.folder / "features.npy", join)
        _written(self.folder / "checksums.json", lambda file: file.write(json.dumps(sums).encode())).replace(
            self.folder / "checksums.json"
        )
        whole.replace(self.folder / "features.npy")

    def _part(self, chunk: int) -> Path:
        return self.parts / f"{chunk:06d}.npy"


def _written(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """A temporary file beside ``path`` with what ``write`` puts in, brought to disk."""
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _create(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Make a file in one step; one that is there already stays as it is."""
    temporary = _written(path, write)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
