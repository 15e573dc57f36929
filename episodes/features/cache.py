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
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from episodes.splits import Split
from episodes.words import pluralise

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
        self.root, self.clips, self.serves = root, clips, True
        self.folder = root / hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        self.files: dict[int, Path] = {}
        self.writes = True

    def file(self, video: int) -> Path | None:
        """Where the features of a video are, or will be; None when the video has no identity."""
        if video not in self.files:
            path = self.clips.split.path(video)
            if (known := identify(path)) is None:
                return None
            facts = [os.path.abspath(path), *known, str(self.clips.split.span(video) or "")]
            name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
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

    def find_all(self, videos: Iterable[int]) -> dict[int, Features]:
        """Of these videos those whose features are known."""
        return {video: found for video in videos if (found := self.find(video)) is not None}

    def keep(self, videos: Tensor, features: Features) -> None:
        """Keep features of videos ``(b)``, such as ``frames (b t d)``, that are float32, as they are; what cannot be
        written costs nothing but this."""
        if not (self.writes and self.serves) or any(features[name].dtype != torch.float32 for name in self.names):
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
    """Batches of videos: those whose features are known by now, then the others as pixels.

    Args:
        videos: their numbers.
        size: of a batch.
        cache: knows features, and takes what is encoded.
        read: a loader of videos as pixels.
        serves: whether the cache still holds what the encoder would give; asked before every pass.
    """

    def __init__(
        self,
        videos: list[int],
        size: int,
        cache: FeatureCache,
        read: Callable[[list[int]], Iterable[VideoBatch]],
        serves: Callable[[], bool],
    ) -> None:
        self.videos, self.size, self.cache, self.read, self.serves = videos, size, cache, read, serves
        self.known = self.cache.find_all(self.videos)  # of the first pass
        count = len(self.known)
        self.batches = -(-count // size) - (-(len(videos) - count) // size)
        self.first = True
        self._reads: tuple[list[int], Iterable[VideoBatch]] = [], ()

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[VideoBatch]:
        self.cache.serves = self.serves()
        if not self.cache.serves:
            self.known = {}
        elif not self.first:
            self.known = self.cache.find_all(self.videos)
        self.first, known = False, self.known
        count = len(known)
        if -(-count // self.size) - (-(len(self.videos) - count) // self.size) > self.batches:  # more than was promised
            known = dict(list(known.items())[: count - count % self.size])
        rest = [video for video in self.videos if video not in known]
        found = list(known.items())
        for start in range(0, len(found), self.size):
            yield collate_videos(self.cache.clips.split, self.cache.clips.views, found[start : start + self.size])
        if rest != self._reads[0]:
            self._reads = rest, self.read(rest)
        yield from self._reads[1]


def with_cache(data: Any, name: str, videos: Sequence[int]) -> Iterable[VideoBatch]:
    """This process's share of some videos of a split, as features where an earlier evaluation left them.

    Pixels alone where ``data.cache`` is off, features come from a store, clips are random, or what the encoder gives is
    no function of the clip and of frozen weights.

    Args:
        data: the data module; its trainer's module says by ``cache_key()`` what turns clips into features.
        name: of the split.
        videos: their numbers.
    """
    trainer = data.trainer
    ask = getattr(getattr(trainer, "lightning_module", None), "cache_key", lambda: None)
    key = ask() if data.features is None else None
    names = ("frames",) if key is None else trainer.lightning_module.contents().names
    data.kept = cache = open_cache(data, data.splits[name], key, names, several=True)
    if cache is None:
        return data.video_loader(name, videos)
    if trainer.is_global_zero:
        make_room(cache.root)
    share = list(StridedSampler(videos, trainer.global_rank, trainer.world_size))
    collate = partial(collate_videos, cache.clips.split, cache.clips.views)

    def read(rest: list[int]) -> ClipLoader:
        return ClipLoader(cache.clips, data.video_batch, sampler=rest, collate_fn=collate, **data.loading())

    found = Videos(share, data.video_batch, cache, read, lambda: ask() == key)
    if found.known and trainer.is_global_zero:
        say(told(len(found.known), len(share), cache.root))
    return found


def open_cache(
    data: Any, split: Split, key: Key | None, names: Sequence[str] = ("frames",), several: bool = False
) -> FeatureCache | None:
    """The cache of a split's clips as they are read in evaluation; None where none can serve.

    Args:
        data: the data module.
        split: of the clips.
        key: what turns them into features; None where a cache cannot serve.
        names: of the features.
        several: of all views, where several are asked for.
    """
    root = cache_folder()
    if not data.cache or root is None or key is None:
        return None
    clips: ClipDataset = data.clips(split, several=several)
    if clips.sampler.random or getattr(clips.transform, "random", True):
        return None
    try:
        return FeatureCache(root, clips, key, names)
    except ValueError:  # a sampler or transform that plain values do not describe
        return None


def told(known: int, count: int, root: Path) -> str:
    """What is said of clips that are not encoded again."""
    return f"{known} of {pluralise(count, 'clip')} from the cache {root} (--data.cache false encodes anew)"


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
