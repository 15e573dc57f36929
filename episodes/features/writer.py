"""Filling a feature store, from any number of processes and in any number of attempts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from episodes.dataset import ClipDataset
from episodes.features.checks import (
    FEATURES,
    KINDS,
    META,
    NO_ARRAY,
    SUMS,
    damaged,
    facts_of,
    read_json,
    refuse_changes,
    sum_of,
)
from episodes.features.identity import identify
from episodes.features.key import Key, folder_name, store_key
from episodes.features.precision import Precision, rounded, to_numpy
from episodes.features.store import CHUNK, FeatureStore
from episodes.files import write_atomically
from episodes.splits import Split

PARTS = "parts"
TOLD = {"key", "views", "dtype", "paths", "sizes"}
"""What every ``meta.json`` tells; the former ones no more."""


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
        self.parts = self.folder / PARTS
        self.parts.mkdir(parents=True, exist_ok=True)
        meta = self.folder / META
        if not meta.exists():
            with write_atomically(meta) as part:
                part.write_text(
                    json.dumps({"key": key, "views": views, "dtype": dtype, **_videos(clips.split)}, indent=1)
                )
        found = read_json(meta)
        if not TOLD <= found.keys() <= TOLD | {"times", "hashes"} or found["key"] != json.loads(json.dumps(key)):
            raise damaged(meta, "is not what was written")
        if (found["views"], found["dtype"]) != (views, dtype):
            raise ValueError(
                f"{self.folder} holds {found['views']} views in {found['dtype']}, but {views} in {dtype} were asked "
                "for. Name another store folder, or remove this one."
            )
        refuse_changes(self.folder, found, clips.split)

    def __len__(self) -> int:
        """Number of chunks."""
        return -(-len(self.clips) // CHUNK)

    @property
    def complete(self) -> bool:
        """Whether the store can be opened."""
        return (self.folder / FEATURES).is_file()

    def written(self, chunk: int) -> bool:
        """Whether a chunk is there."""
        return part_of(self.folder, chunk).is_file() or self.complete

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
        try:
            if not self.written(chunk):
                write_part(part_of(self.folder, chunk), to_numpy(values))
        except FileNotFoundError:  # another writer has joined the parts meanwhile and cleared them away
            if not self.complete:
                raise

    def rounded(self, features: Tensor) -> Tensor:
        """Features in the store's precision on the CPU, for those who make a chunk bit by bit."""
        return rounded(features, self.dtype)

    def finish(self) -> FeatureStore:
        """Join the chunks. Two writers may do so at once: both write the same bytes.

        Raises:
            RuntimeError: when chunks are missing.
            ValueError: when a chunk is not what was written; it is removed, so that it is made anew.
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
        sums: list[list[int]] = []
        bad: list[Path] = []
        shape: tuple[int, ...] = ()
        with write_atomically(self.folder / FEATURES) as whole:
            with whole.open("wb") as file:
                for chunk in range(len(self)):
                    rows = read_part(part := part_of(self.folder, chunk))
                    if rows is None:
                        bad.append(part)
                        continue
                    if not shape:
                        shape = (len(self.clips), *rows.shape[1:])
                        header = {"descr": rows.dtype.str, "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(file, header)
                    sums += [[sum_of(view) for view in video] for video in rows]
                    file.write(rows.tobytes())
            for part in bad:
                part.unlink()
            if bad:
                raise ValueError(
                    f"{len(bad)} of {len(self)} chunks in {self.folder} are not what was written, {bad[0].name} first. "
                    "They were removed: start the extraction again, which makes only them anew."
                )
            with write_atomically(self.folder / SUMS) as text:
                facts = facts_of(KINDS[self.dtype], shape, sums, (self.folder / META).read_bytes())
                text.write_text(json.dumps(facts), encoding="utf-8")


def part_of(folder: Path, chunk: int) -> Path:
    """The file of a chunk in a store that is not finished."""
    return folder / PARTS / f"{chunk:06d}.npy"


def write_part(part: Path, rows: NDArray[np.generic]) -> None:
    """Keep a chunk ``(b m *)``, with the crc32 of its bytes behind them, which readers of .npy do not mind."""
    with write_atomically(part) as file, file.open("wb") as opened:
        np.save(opened, rows)
        opened.write(sum_of(rows).to_bytes(4, "big"))


def read_part(part: Path) -> NDArray[np.generic] | None:
    """A chunk, or None when it is not what was written."""
    with part.open("rb") as file:
        try:
            rows: NDArray[np.generic] = np.load(file)
        except NO_ARRAY:
            return None
        same = file.read() == sum_of(rows).to_bytes(4, "big")
        return rows if same else None


def _videos(split: Split) -> dict[str, Any]:
    """Paths and identities of a split's videos."""
    known = [identify(split.path(video)) for video in range(len(split))]
    return {
        "paths": split.paths,
        "sizes": [one and one.size for one in known],
        "times": [one and one.time for one in known],
        "hashes": [one and one.hash for one in known],
    }
