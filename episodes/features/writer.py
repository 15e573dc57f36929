"""Filling a feature store, from any number of processes and in any number of attempts."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from episodes.clips import Clips, Contents, Streams, combined
from episodes.dataset import ClipDataset
from episodes.features.checks import (
    KINDS,
    META,
    NO_ARRAY,
    PARTS,
    SUMS,
    damaged,
    file_of,
    is_complete,
    read_json,
    refuse_changes,
    sum_of,
)
from episodes.features.identity import identify
from episodes.features.key import Key, folder_name, store_key
from episodes.features.precision import Precision, rounded, to_numpy
from episodes.features.store import CHUNK, FRAMES, FeatureStore
from episodes.files import write_atomically
from episodes.files.locks import HOLDER, LOCK
from episodes.splits import Split
from episodes.words import pluralise

TOLD = {"key", "views", "dtype", "paths", "sizes"}
"""What every ``meta.json`` tells; the former ones no more."""
SINCE = {"times", "hashes", "kind", "names"}


class FeatureWriter:
    """Fills a store chunk by chunk.

    Args:
        root: the folder of all stores.
        clips: the clips to encode; they decide the key, together with ``encoder``.
        encoder: what turns clips into features, see :func:`episodes.features.key.store_key`.
        views: of every video. View 0 is the one that evaluation uses, the others are drawn at random.
        dtype: float32; float16 for half the size and a relative rounding of at most 0.05 %; or bfloat16 for the same
            size and 0.4 %, which loses nothing of an encoder whose weights are bfloat16.
        contents: what is written of each video: an array for each name.

    Raises:
        ValueError: when several views are asked of clips that are not random, or the store exists with another number
            of views, another dtype or other contents.
    """

    def __init__(
        self,
        root: Path,
        clips: ClipDataset,
        encoder: str | Key,
        views: int = 1,
        dtype: Precision = "float32",
        contents: Contents = FRAMES,
    ) -> None:
        key = store_key(clips, encoder)
        if views > 1 and key["seed"] is None:
            raise ValueError(
                f"{views} views of split {clips.split.name} were asked for, but neither its frame sampler nor its "
                "transform is random: all views would be equal. Ask for one, or choose a random sampler or transform."
            )
        self.clips, self.views, self.dtype, self.contents = clips, views, dtype, contents
        self.folder = root / folder_name(clips.split, key)
        self.parts = self.folder / PARTS
        self.parts.mkdir(parents=True, exist_ok=True)
        meta = self.folder / META
        if not meta.exists() or ("names" not in read_json(meta) and not self.complete):  # of the first format
            told = {"views": views, "dtype": dtype, "kind": contents.kind.__name__, "names": contents.names}
            with write_atomically(meta) as part:
                part.write_text(json.dumps({"key": key, **told, **_videos(clips.split)}, indent=1))
        found = read_json(meta)
        if not TOLD <= found.keys() <= TOLD | SINCE or found["key"] != json.loads(json.dumps(key)):
            raise damaged(meta, "is not what was written")
        if (found["views"], found["dtype"]) != (views, dtype):
            raise ValueError(
                f"{self.folder} holds {found['views']} views in {found['dtype']}, but {views} in {dtype} were asked "
                "for. Name another store folder, or remove this one."
            )
        if lacking := [name for name in contents.names if name not in found.get("names", contents.names)]:
            raise ValueError(
                f"{self.folder} holds {' and '.join(found['names'])}, but {' and '.join(lacking)} was asked for too. "
                "Name another store folder, or remove this one."
            )
        refuse_changes(self.folder, found, clips.split)

    def __len__(self) -> int:
        """Number of chunks."""
        return -(-len(self.clips) // CHUNK)

    @property
    def complete(self) -> bool:
        """Whether the store can be opened."""
        return is_complete(self.folder)

    def written(self, chunk: int) -> bool:
        """Whether a chunk is there."""
        return part_of(self.folder, chunk).is_file() or self.complete

    def pending(self) -> list[int]:
        """Numbers of the chunks that nobody has written yet."""
        return [chunk for chunk in range(len(self)) if not self.written(chunk)]

    def videos(self, chunk: int) -> range:
        """Numbers of the videos in a chunk."""
        return range(len(self.clips))[chunk * CHUNK : (chunk + 1) * CHUNK]

    def read(self, chunk: int) -> Streams:
        """The clips of a chunk in all views: ``frames (b m t c h w)``, uint8."""
        keys: list[tuple[int, ...]] = [(), *((view,) for view in range(1, self.views))]
        clips = [combined(torch.stack, [self.clips.clip(video, *key) for key in keys]) for video in self.videos(chunk)]
        return combined(torch.stack, clips)

    def write(self, chunk: int, clips: Clips) -> None:
        """Keep what was made of a chunk, such as ``frames (b m t d)``; when another writer was first, keep that one's.

        Raises:
            ValueError: when it has another shape or is not finite in the store's dtype.
        """
        rounded = self.rounded(clips)
        expected = (len(self.videos(chunk)), self.views)
        for name in self.contents.names:
            if rounded[name].shape[:2] != expected:
                found = tuple(rounded[name].shape)
                raise ValueError(f"{name} of chunk {chunk} must begin with shape {expected}, found {found}.")
            for video, rows in zip(self.videos(chunk), rounded[name], strict=True):
                if not rows.isfinite().all():
                    raise ValueError(
                        f"features of {self.clips.split.path(video)} are not finite in {self.dtype}: check the "
                        "encoder's weights and precision, or store float32."
                    )
        try:
            if not self.written(chunk):
                write_part(part_of(self.folder, chunk), [to_numpy(rounded[name]) for name in self.contents.names])
        except FileNotFoundError:  # another writer has joined the parts meanwhile and cleared them away
            if not self.complete:
                raise

    def leave(self) -> None:
        """Take back a store that holds no chunk, as of an extraction that was broken off before its first."""
        with suppress(OSError):  # a chunk is there, or it was joined
            self.parts.rmdir()
            if not self.complete:
                for name in (META, HOLDER, LOCK):
                    (self.folder / name).unlink(missing_ok=True)
                self.folder.rmdir()

    def rounded(self, clips: Clips) -> Clips:
        """Clips in the store's precision on the CPU, for those who make a chunk bit by bit."""
        return clips.map(lambda x: rounded(x, self.dtype))

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
        return FeatureStore(self.folder, self.contents)

    def _join(self) -> None:
        names = read_json(self.folder / META)["names"]
        facts: dict[str, Any] = {name: {"dtype": KINDS[self.dtype], "crc32": []} for name in names}
        bad: list[Path] = []
        with ExitStack() as stack:  # the checksums get their place first, then the arrays
            parts = [stack.enter_context(write_atomically(file_of(self.folder, name))) for name in names]
            files = [stack.enter_context(part.open("wb")) for part in parts]
            for chunk in range(len(self)):
                arrays = read_part(part := part_of(self.folder, chunk), len(names))
                if arrays is None:
                    bad.append(part)
                    continue
                for fact, file, rows in zip(facts.values(), files, arrays, strict=True):
                    if "shape" not in fact:
                        fact["shape"] = (len(self.clips), *rows.shape[1:])
                        header = {"descr": rows.dtype.str, "fortran_order": False, "shape": fact["shape"]}
                        np.lib.format.write_array_header_1_0(file, header)
                    fact["crc32"] += [[sum_of(view) for view in video] for video in rows]
                    file.write(rows.tobytes())
            for part in bad:
                part.unlink()
            if bad:
                raise ValueError(
                    f"not what was written: {len(bad)} of {pluralise(len(self), 'chunk')} in {self.folder}, "
                    f"{bad[0].name} "
                    "first. What is damaged was removed: start the extraction again, which makes only that anew."
                )
            with write_atomically(self.folder / SUMS) as text:
                meta = hashlib.sha256((self.folder / META).read_bytes()).hexdigest()
                text.write_text(json.dumps({"meta": meta, "arrays": facts}), encoding="utf-8")


def part_of(folder: Path, chunk: int) -> Path:
    """The file of a chunk in a store that is not finished."""
    return folder / PARTS / f"{chunk:06d}.npy"


def write_part(part: Path, arrays: Sequence[NDArray[np.generic]]) -> None:
    """Keep a chunk, arrays ``(b m *)`` one after the other, with the crc32 of their bytes behind them, which readers of
    .npy do not mind."""
    with write_atomically(part) as file, file.open("wb") as opened:
        for rows in arrays:
            np.save(opened, rows)
        opened.write(_sum_of_all(arrays))


def read_part(part: Path, count: int) -> list[NDArray[np.generic]] | None:
    """The so many arrays of a chunk, or None when it is not what was written."""
    with part.open("rb") as file:
        try:
            arrays: list[NDArray[np.generic]] = [np.load(file) for _ in range(count)]
        except NO_ARRAY:
            return None
        return arrays if file.read() == _sum_of_all(arrays) else None


def _sum_of_all(arrays: Sequence[NDArray[np.generic]]) -> bytes:
    return reduce(lambda so_far, rows: sum_of(rows, so_far), arrays, 0).to_bytes(4, "big")


def _videos(split: Split) -> dict[str, Any]:
    """Paths and identities of a split's videos."""
    known = [identify(split.path(video)) for video in range(len(split))]
    return {
        "paths": split.paths,
        "sizes": [one and one.size for one in known],
        "times": [one and one.time for one in known],
        "hashes": [one and one.hash for one in known],
    }
