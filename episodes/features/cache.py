"""What a frozen encoder gave for a clip, kept between evaluations without being asked for.

A store is made on purpose and covers a split; this is the small change: every evaluation keeps what it encodes, and the
next one, of other episodes or with another metric, reads it. An entry is one file, named by a hash of everything that
decides its numbers: encoder and weights, frames, sampler, transform, reader, precision, kind of device, and the video's
path, size, time and hash. Files are whole or not there and hold their checksum, so that any number of processes may
read and write at once; the oldest go when all are more than :data:`LIMIT` bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from episodes.clips import Features
from episodes.dataset import ClipDataset, ClipLoader, collate_videos
from episodes.episode import VideoBatch
from episodes.features.identity import identify
from episodes.features.key import Key, store_key
from episodes.features.writer import read_part, write_part
from episodes.sampler import StridedSampler

VARIABLE, OFF = "FSAR_CACHE", "off"
LIMIT = 2 * 2**30


def cache_folder() -> Path | None:
    """``FSAR_CACHE``, or ``fsar/features`` in the user's folder for such files; None when that says ``off``."""
    if (named := os.environ.get(VARIABLE)) == OFF:
        return None
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fsar" / "features"


class FeatureCache:
    """The cache as one evaluation sees it.

    Args:
        root: of all entries.
        clips: how clips are made.
        encoder: what turns them into features, and on what.
        names: of the features.
    """

    def __init__(self, root: Path, clips: ClipDataset, encoder: Key, names: Sequence[str] = ("frames",)) -> None:
        self.names = names
        about = {**store_key(clips, encoder), "videos": None}
        self.clips = clips
        self.folder = root / hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        self.files: dict[int, Path] = {}
        self.writes = True

    def file(self, video: int) -> Path | None:
        """Where the features of a video are, or will be; None when the video has no identity."""
        if video not in self.files:
            path = self.clips.split.path(video)
            if (known := identify(path)) is None:
                return None
            name = hashlib.sha256(json.dumps([os.path.abspath(path), *known]).encode()).hexdigest()[:32]
            self.files[video] = self.folder / f"{name}.npy"
        return self.files[video]

    def find(self, video: int) -> Features | None:
        """Features such as ``frames (t d)``, or None; an entry that is damaged is taken away, and said."""
        file = self.file(video)
        if file is None or not file.is_file():
            return None
        try:
            arrays = read_part(file, len(self.names))
            if arrays is None or any(rows.dtype != "float32" for rows in arrays):
                say(f"{file} in the cache is damaged: {self.clips.split.paths[video]} is encoded again")
                file.unlink(missing_ok=True)
                return None
            os.utime(file)  # used, so not the next to go
        except OSError:  # another process has just made room
            return None
        return Features({name: torch.from_numpy(rows) for name, rows in zip(self.names, arrays, strict=True)})

    def keep(self, videos: Tensor, features: Features) -> None:
        """Keep features of videos ``(b)``, such as ``frames (b t d)``, that are float32, as they are; what cannot be
        written costs nothing but this."""
        if not self.writes or any(features[name].dtype != torch.float32 for name in self.names):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = [features[name].detach().cpu() for name in self.names]
            for video, *arrays in zip(videos.tolist(), *kept, strict=True):
                if (file := self.file(video)) is not None and all(bool(rows.isfinite().all()) for rows in arrays):
                    write_part(file, [rows.numpy() for rows in arrays])
        except OSError as error:
            self.writes = False
            warnings.warn(f"features are not kept for the next evaluation: {error}", stacklevel=2)


class Videos:
    """Batches of videos: those whose features are known, then the others as pixels.

    Args:
        known: ``{video: features}``.
        split: of all videos.
        size: of a batch.
        others: reads what is not known; None when all is.
        cache: takes what is encoded.
    """

    def __init__(
        self, known: dict[int, Features], split: Any, size: int, others: ClipLoader | None, cache: FeatureCache
    ) -> None:
        self.known, self.split, self.size, self.others, self.cache = list(known.items()), split, size, others, cache

    def __len__(self) -> int:
        return -(-len(self.known) // self.size) + (0 if self.others is None else len(self.others))

    def __iter__(self) -> Iterator[VideoBatch]:
        for start in range(0, len(self.known), self.size):
            yield collate_videos(self.split, self.known[start : start + self.size])
        if self.others is not None:
            yield from self.others


def with_cache(data: Any, name: str, videos: Sequence[int]) -> Iterable[VideoBatch]:
    """This process's share of some videos of a split, as features where an earlier evaluation left them.

    Pixels alone where ``data.cache`` is off, features come from a store, clips are random, or training changes what the
    encoder gives.

    Args:
        data: the data module; its trainer's module says by ``cache_key()`` what turns clips into features.
        name: of the split.
        videos: their numbers.
    """
    data.kept, root, trainer = None, cache_folder(), data.trainer
    key = getattr(getattr(trainer, "lightning_module", None), "cache_key", lambda: None)()
    if not data.cache or root is None or data.features is not None or key is None:
        return data.video_loader(name, videos)
    clips: ClipDataset = data.clips(data.splits[name])
    if clips.sampler.random or getattr(clips.transform, "random", True):
        return data.video_loader(name, videos)
    try:
        cache = FeatureCache(root, clips, key, trainer.lightning_module.contents().names)
    except ValueError:  # a sampler or transform that plain values do not describe
        return data.video_loader(name, videos)
    if trainer.is_global_zero:
        make_room(root)
    share = list(StridedSampler(videos, trainer.global_rank, trainer.world_size))
    known = {video: found for video in share if (found := cache.find(video)) is not None}
    rest = [video for video in share if video not in known]
    if known and trainer.is_global_zero:
        say(f"{len(known)} of {len(share)} clips from the cache {root} (--data.cache false encodes anew)")
    collate = partial(collate_videos, clips.split)
    others = ClipLoader(clips, data.video_batch, sampler=rest, collate_fn=collate, **data.loading()) if rest else None
    data.kept = cache
    return Videos(known, clips.split, data.video_batch, others, cache)


def say(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)


def make_room(root: Path, limit: int | None = None) -> None:
    """Take away the entries that nobody used for longest, until all are within ``limit`` bytes, :data:`LIMIT`."""
    limit, found = LIMIT if limit is None else limit, []
    for file in root.glob("*/*.npy"):
        with suppress(FileNotFoundError):  # another process makes room, too
            state = file.stat()
            found.append((state.st_mtime_ns, state.st_size, file))
    size = sum(each for _, each, _ in found)
    for _, each, file in sorted(found):
        if size <= limit:
            return
        file.unlink(missing_ok=True)
        size -= each
