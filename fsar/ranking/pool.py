"""All clips of a benchmark with their stored features, and their classes divided anew."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from episodes.clips import Contents, Features, Streams, combined
from episodes.datamodule import EpisodicDataModule
from episodes.dataset import index_episodes
from episodes.episode import Episode, VideoBatch
from episodes.features import FeatureStore, FeatureWriter
from episodes.sampler import EpisodeSampler, Integers, hash_words
from episodes.splits import Benchmark, Split
from episodes.splits.dividing import divide
from fsar.encoders import FrameEncoder
from fsar.evaluation.bank import VideoBank
from fsar.method import Method
from fsar.terminal.bars import counting

TOGETHER = 4
"""Clips that are encoded, or whose parts are made, at a time."""


class Part(NamedTuple):
    """Some classes of a pool: a split of their clips, and the number of each of these in the pool."""

    split: Split
    numbers: Integers


@dataclass(frozen=True)
class Pool:
    """All clips of a benchmark, whatever split they stood in, each in one view or more.

    Args:
        split: names classes and clips.
        plain: view 0 of each clip, as evaluation reads it; None where ``held`` stands for it.
        drawn: random views 1, 2, ... for training; None without.
        held: in the place of both, ``frames (v m t d)`` and others in memory, m views.
    """

    split: Split
    plain: FeatureStore | None = None
    drawn: FeatureStore | None = None
    held: Features | None = None

    @property
    def views(self) -> int:
        """Of every clip."""
        if self.held is not None:
            return self.held["frames"].shape[1]
        return 1 + (self.drawn.views if self.drawn else 0)

    def take(self, videos: Integers, views: Integers, names: Sequence[str]) -> Features:
        """Features of clips ``(...)`` in views ``(...)``, float32."""
        if self.held is not None:
            index = torch.from_numpy(videos), torch.from_numpy(views)
            return Features({name: self.held[name][index] for name in names})
        assert self.plain is not None
        plain = self.plain.take(videos, 0, names).map(Tensor.float)
        if self.drawn is None or not views.any():
            return Features(plain)
        drawn = self.drawn.take(videos, np.maximum(views - 1, 0), names).map(Tensor.float)
        first = torch.from_numpy(views == 0)
        return Features(
            {
                n: torch.where(first.reshape(*views.shape, *(1,) * (x.dim() - views.ndim)), plain[n], x)
                for n, x in drawn.items()
            }
        )

    def part(self, name: str, classes: Sequence[str]) -> Part:
        """The clips of some classes."""
        label = {self.split.class_names.index(each): number for number, each in enumerate(classes)}
        numbers = [video for video, old in enumerate(self.split.labels) if old in label]
        split = replace(
            self.split,
            name=name,
            class_names=tuple(classes),
            paths=tuple(self.split.paths[i] for i in numbers),
            labels=tuple(label[self.split.labels[i]] for i in numbers),
            spans=tuple(self.split.spans[i] for i in numbers if self.split.spans),
        )
        return Part(split, np.array(numbers))

    def reduced(self, part: Part, components: int, names: Sequence[str]) -> Pool:
        """All features in the first principal components of the frames of a part, the training classes, and in memory.

        Raises:
            ValueError: for more components than there are channels or frames.
        """
        every = np.arange(self.views)
        frames = self.take(np.repeat(part.numbers, self.views), np.tile(every, len(part.numbers)), ("frames",))[
            "frames"
        ]
        if components > min(frames.shape[-1], frames[..., 0].numel()):
            raise ValueError(
                f"{components} components were asked for, of {frames.shape[-1]} channels and "
                f"{frames[..., 0].numel()} training frames."
            )
        frames = frames.flatten(0, -2)
        mean = frames.mean(0)
        basis = torch.linalg.eigh((frames - mean).T @ (frames - mean))[1][:, -components:]
        found = []
        for video in range(len(self.split)):
            some = self.take(np.full(self.views, video), every, names)
            found.append(some.map(lambda x: (x - mean) @ basis))
        return replace(self, held=combined(torch.stack, found))

    def bank(self, method: Method, part: Part, device: torch.device) -> VideoBank:
        """What the method keeps of each clip of a part."""
        bank, labels = VideoBank(method, floor=False), torch.tensor(part.split.labels)
        for videos in torch.arange(len(labels)).split(TOGETHER):
            numbers = part.numbers[videos.numpy()]
            clips = self.take(numbers, np.zeros_like(numbers), method.needs).to(device)
            bank.add(VideoBatch(videos.to(device), clips, labels[videos].to(device), part.split.class_names))
        bank.close()
        return bank

    def episode(self, part: Part, sampler: EpisodeSampler, numbers: Integers, needs: Sequence[str]) -> Episode:
        """Training episodes with these numbers ``(e)``, every clip in a view that is drawn for it."""
        index, clips = index_episodes(sampler, numbers), {}
        for role, offset in (("support", 0), ("query", index.support.shape[-1])):
            videos = part.numbers[getattr(index, role).numpy()]  # (e s) or (e q)
            words = hash_words(sampler.seed, numbers[:, None], offset + np.arange(videos.shape[-1]))
            clips[role] = self.take(videos, (words % np.uint64(self.views)).astype(np.int64), needs)
        return Episode(**{**vars(index), **clips})


def pool_of(benchmark: Benchmark) -> Split:
    """All clips of a benchmark in one split, in the order of their classes' names and paths."""
    splits = [split for split in (benchmark.train, benchmark.val, benchmark.test) if len(split)]
    root = Path(os.path.commonpath([split.root for split in splits]))
    rows = [
        (split.class_names[label], (split.root / path).relative_to(root).as_posix(), split.span(video))
        for split in splits
        for video, (path, label) in enumerate(zip(split.paths, split.labels, strict=True))
    ]
    rows.sort(key=lambda row: row[:2])
    names, spans = tuple(sorted({name for name, _, _ in rows})), tuple(span for _, _, span in rows)
    labels = tuple(names.index(name) for name, _, _ in rows)
    return Split("all", names, tuple(path for _, path, _ in rows), labels, root, (), spans if any(spans) else ())


def divide_classes(
    benchmark: Mapping[str, Sequence[str]], seed: int, sizes: Sequence[int] = ()
) -> dict[str, list[str]]:
    """All classes of a benchmark divided anew by a seed, into as many for each split as it has, or as ``sizes`` says.

    Raises:
        ValueError: for sizes that do not add up to the number of classes.

    Examples:
        >>> divide_classes({"train": ["a", "b"], "val": [], "test": ["c"]}, seed=0)
        {'train': ['b', 'c'], 'val': [], 'test': ['a']}
    """
    classes = sorted(name for names in benchmark.values() for name in names)
    counts = list(sizes) or [len(benchmark[name]) for name in ("train", "val", "test")]
    if len(counts) != 3 or sum(counts) != len(classes):
        raise ValueError(
            f"sizes must be numbers of train, val and test classes that add up to {len(classes)}, found {counts}."
        )
    shares = (counts[0] / len(classes), counts[1] / len(classes), counts[2] / len(classes))
    return divide(classes, seed, shares, f"{len(classes)} classes")


@torch.no_grad()
def store(
    encoder: FrameEncoder,
    needs: Sequence[str],
    data: EpisodicDataModule,
    root: Path,
    views: int,
    key: Mapping[str, object],
) -> Pool:
    """The features of all clips of a benchmark under ``root``, what is not there yet encoded.

    Args:
        encoder: frozen.
        needs: names of what it is to give.
        data: names the clips, and how they are made.
        root: the folder of the stores.
        views: random ones of every clip, for training beside the one of evaluation.
        key: what turns clips into features, see :func:`fsar.evaluation.bank.feature_key`.
    """
    data.refuse_views("fsar rank")
    split, stores = pool_of(data.load()), list[FeatureStore]()
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    for training in (False, True) if views else (False,):
        clips = data.clips(split, training, stored=True)
        kept = Contents(Features, tuple(needs))
        writer = FeatureWriter(root, clips, dict(key), views if training else 1, "float16", kept)
        left = writer.pending()
        with counting(f"encoding {data.load().name}", sum(len(writer.videos(chunk)) for chunk in left)) as tell:
            for chunk in left:
                some = writer.read(chunk)["frames"].split(TOGETHER)
                made = [writer.rounded(encoder.features(Streams(frames=x.to(device)), needs)) for x in some]
                writer.write(chunk, combined(torch.cat, made))
                tell(len(writer.videos(chunk)))
        stores.append(writer.finish())
    return Pool(split, stores[0], stores[1] if views else None)
