"""Episodes and batches of videos, of numbers and with their clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from episodes.clips import Clips, Streams, combined
from episodes.dataset.mirroring import Mirroring
from episodes.dataset.reading import ClipSource
from episodes.episode import Episode, IndexEpisode, VideoBatch
from episodes.sampler import EpisodeSampler, StridedSampler
from episodes.splits import Split
from episodes.views import Views


def index_episodes(sampler: EpisodeSampler, numbers: ArrayLike) -> IndexEpisode:
    """Episodes with these ``numbers (e)`` whose clips are video indices: support ``(e s)``, query ``(e q)``."""
    number = torch.as_tensor(np.asarray(numbers, dtype=np.int64))
    classes, support, query = map(torch.from_numpy, sampler.episodes(number.numpy()))
    return IndexEpisode(
        support=support,
        query=query,
        support_labels=torch.from_numpy(sampler.support_labels).expand(support.shape),
        query_labels=torch.from_numpy(sampler.query_labels).expand(query.shape),
        classes=classes,
        class_names=sampler.class_names,
        number=number,
    )


def collate_videos(split: Split, views: Views | None, items: Sequence[tuple[int, Clips]]) -> VideoBatch:
    """Items ``(index, clip)`` of a :class:`ClipDataset` with such views as one batch."""
    videos = torch.tensor([video for video, _ in items])
    classes = torch.tensor([split.labels[video] for video, _ in items])
    clips = combined(torch.stack, [clip for _, clip in items])
    return VideoBatch(videos, clips, classes, split.class_names, views)


def needed_videos(sampler: EpisodeSampler, count: int) -> list[int]:
    """The videos that occur in the first ``count`` episodes, in ascending order."""
    _, support, query = sampler.episodes(np.arange(count))
    return np.unique(np.concatenate([support.ravel(), query.ravel()])).tolist()


class EpisodeDataset(Dataset[Episode]):
    """Item ``i`` is episode number ``i`` with its clips: ``s`` of the support, ``q`` queries.

    Every clip is a view of its own, drawn with the key (episode number, place in the episode).

    Args:
        source: of the clips.
        sampler: draws the episodes.
        queries: where they are read in another way.
        mirroring: which clips are mirrored.
    """

    def __init__(
        self, source: ClipSource, sampler: EpisodeSampler, queries: ClipSource | None = None, mirroring: Any = None
    ) -> None:
        self.source, self.sampler, self.queries = source, sampler, queries or source
        self.mirroring: Mirroring | None = mirroring

    def __getitem__(self, number: int) -> Episode:
        episode = index_episodes(self.sampler, [number]).map(lambda x: x[0])
        videos, supports = torch.cat([episode.support, episode.query]).tolist(), len(episode.support)
        drawn = self.mirroring.draw(videos, number) if self.mirroring else [(video, False) for video in videos]
        found = []
        for i, (video, mirrored) in enumerate(drawn):
            clip = (self.source if i < supports else self.queries).clip(video, number, i)
            found.append(Streams({**clip, "frames": clip["frames"].flip(-1)}) if mirrored else clip)
        support, query = combined(torch.stack, found).split_at(supports, 0)
        return Episode(**{**vars(episode), "support": support, "query": query})


class IndexEpisodes:
    """Batches of index episodes ``0..count-1``, this rank's share of them: support ``(e s)``, query ``(e q)``.

    It reads nothing, so it needs no workers; it can be iterated over again and again, with the same result.

    Args:
        sampler: draws the episodes.
        count: of episodes over all ranks.
        batch: episodes per batch.
        rank: of this process.
        world: number of processes.
    """

    def __init__(self, sampler: EpisodeSampler, count: int, batch: int = 256, rank: int = 0, world: int = 1) -> None:
        self.episode_sampler, self.batch = sampler, batch  # Lightning looks into whatever is called `sampler`
        self.numbers = list(StridedSampler(range(count), rank, world))

    def __len__(self) -> int:
        return -(-len(self.numbers) // self.batch)

    def __iter__(self) -> Iterator[IndexEpisode]:
        for start in range(0, len(self.numbers), self.batch):
            yield index_episodes(self.episode_sampler, self.numbers[start : start + self.batch])
