"""From numbers to clips: what a data loader reads, for training episodes and for videos that are encoded once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from einops import rearrange
from numpy.typing import ArrayLike
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset

from episodes.beside import Joints, Regions
from episodes.clips import Clips, Streams, combined
from episodes.episode import Episode, IndexEpisode, VideoBatch
from episodes.frames import FrameSampler
from episodes.mirroring import Mirroring
from episodes.sampler import EpisodeSampler, StridedSampler, hash_words
from episodes.splits import Split
from episodes.video import Reader, VideoError, find_unreadable, read_clip
from episodes.video.sound import Sound

Transform = Callable[[Tensor, torch.Generator], Any]
"""What is done to one clip, uint8 ``(t c h w)`` to ``(t c h w)``: see :mod:`episodes.transforms`. (The result is a
Tensor; jsonargparse takes a class path for such an argument only when the annotation leaves it open.)"""

LISTED = 3
"""Broken videos that a message names."""


class ClipSource(Protocol):
    """Where episodes take their clips from: pixels of videos, or features that were stored before."""

    split: Split

    def clip(self, video: int, *key: int) -> Clips:
        """The clip of a video; ``key`` picks the random view, the same key gives the same view."""


class ClipDataset(Dataset[tuple[int, Streams]]):
    """Clips of a split's videos as pixels. Item ``i`` is ``(i, clip)``: what an evaluation encodes once.

    All randomness comes from generators seeded by (seed, video, key), so neither the number of workers nor the order
    of reading can change a clip.

    Args:
        split: names the videos.
        sampler: chooses the frames.
        transform: makes them ``(t c h w)`` of the encoder's size.
        frames: number of frames, ``t``.
        reader: how videos are decoded, see :func:`episodes.video.read_clip`.
        seed: of the random views.
        regions: boxes that are tinted before the transform.
        joints: a stream ``joints (t J 3)`` beside the frames.
        sound: a stream ``sound (samples)`` beside the frames, NaN of a video without a track.

    Raises:
        ValueError: joints beside a transform that mirrors the frames alone.
        VideoError: on reading a video that cannot be read; nothing takes its place.
    """

    def __init__(
        self,
        split: Split,
        sampler: FrameSampler,
        transform: Transform,
        frames: int = 8,
        reader: Reader = "auto",
        seed: int = 0,
        regions: Regions | None = None,
        joints: Joints | None = None,
        sound: Sound | None = None,
    ) -> None:
        if joints is not None and getattr(transform, "flip", False):
            raise ValueError(
                "data.joints: the transform mirrors frames (flip) and not their joints: set flip to false."
            )
        self.split, self.sampler, self.transform = split, sampler, transform
        self.frames, self.reader, self.seed = frames, reader, seed
        self.regions, self.joints, self.sound = regions, joints, sound

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, video: int) -> tuple[int, Streams]:
        return video, self.clip(video)

    def clip(self, video: int, *key: int) -> Streams:
        """``frames (t c h w)``, uint8, ``joints`` and ``sound``; without a key the one view that evaluation uses."""
        frame_seed, pixel_seed = map(int, hash_words(self.seed, video, *key, [0, 1]))
        generator = np.random.default_rng(frame_seed)

        span = self.split.span(video)
        taken: list[tuple[np.ndarray, int]] = []
        times: list[tuple[float, float]] = []

        def choose(frames: int, fps: float) -> np.ndarray:
            part = range(frames) if span is None else span.frames(frames, fps)
            times.append((part.start / fps, part.stop / fps) if fps > 0 else (0.0, 0.0))
            taken.append((part.start + self.sampler(len(part), self.frames, generator, fps), frames))
            return taken[-1][0]

        read = torch.from_numpy(read_clip(self.split.path(video), choose, self.reader))
        pixels, dice = rearrange(read, "t h w c -> t c h w"), torch.Generator().manual_seed(pixel_seed)
        if self.regions is not None:
            pixels = self.regions.tint(pixels, self.split, video, *taken[-1])
        streams = Streams(frames=self.transform(pixels, dice))
        if self.joints is not None:
            streams["joints"] = self.joints.read(self.split, video, *taken[-1])
        if self.sound is not None:
            streams["sound"] = torch.from_numpy(self.sound.read(self.split.path(video), *times[-1]))
        return streams


def leave_out_broken(
    split: Split, workers: int = 1, rank: int = 0, world: int = 1, skip: bool = False
) -> tuple[Split, dict[str, str], dict[str, str]]:
    """Looks at every video of a split; each process takes its share, and all know the result.

    Args:
        split: names the videos.
        workers: how many are looked at together, in each process.
        rank: of this process.
        world: number of processes.
        skip: leave out the broken videos, with a warning.

    Returns:
        The split, less the broken videos; ``{path: cause}`` of those; and ``{path: which}`` of folders of frames that
        hold images which do not belong to the sequence and are not read.

    Raises:
        VideoError: when some cannot be read and ``skip`` is false; it names the first.
    """
    paths: dict[str, list[str]] = {}  # several videos may be parts of one file
    for video, relative in enumerate(split.paths):
        paths.setdefault(str(split.path(video)), []).append(relative)
    images: dict[str, str] = {}
    broken = find_unreadable(list(paths)[rank::world], max(workers, 1), images=images)
    if world > 1:
        shares: list[tuple[dict[str, str], dict[str, str]]] = [({}, {})] * world
        distributed.all_gather_object(shares, (broken, images))
        broken, images = ({path: told for share in shares for path, told in share[i].items()} for i in (0, 1))
    images = {relative: which for path, which in sorted(images.items()) for relative in paths[path]}
    if not broken:
        return split, {}, images
    listed = [f"\n  {path}: {cause}" for path, cause in sorted(broken.items())]
    more = f"\n  and {len(listed) - LISTED} more; fsar check-videos lists them all" if len(listed) > LISTED else ""
    message = f"{len(broken)} of the {len(split)} videos of split {split.name} cannot be read:"
    message += "".join(listed[:LISTED]) + more
    if not skip:
        raise VideoError(f"{message}\nReplace them, or leave them out with --data.skip_unreadable=true.")
    if rank == 0:
        warnings.warn(f"{message}\nThey are left out.", stacklevel=2)
    left_out = {relative: cause for path, cause in sorted(broken.items()) for relative in paths[path]}
    return split.without(left_out), left_out, images


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


def collate_videos(split: Split, items: Sequence[tuple[int, Clips]]) -> VideoBatch:
    """Items ``(index, clip)`` of a :class:`ClipDataset` as one batch."""
    videos = torch.tensor([video for video, _ in items])
    classes = torch.tensor([split.labels[video] for video, _ in items])
    return VideoBatch(videos, combined(torch.stack, [clip for _, clip in items]), classes, split.class_names)


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
            found.append(clip.map(lambda x: x.flip(-1)) if mirrored else clip)
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


class ClipLoader(DataLoader[Any]):
    """A data loader that says in one line which video a worker could not read."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        try:
            yield from super().__iter__()
        except VideoError as error:  # from a worker it comes with the worker's whole traceback as its message
            raise VideoError(str(error).rpartition("VideoError: ")[2].strip()) from None


class EpisodeLoader(ClipLoader):
    """Batches of training episodes ``(e s *clip)`` that go on in the middle of an epoch when training is resumed.

    Lightning stores ``state_dict`` in a checkpoint. It also asks for an iterator before it tells the sampler which
    epoch it is, and workers would at once begin to read the wrong episodes; here reading begins with the first batch.
    """

    sampler: StridedSampler
    _resume: tuple[int, int] = (-1, 0)
    _given = 0

    def __iter__(self) -> Iterator[Episode]:  # type: ignore[override]
        epoch, batches = self._resume
        self._given = batches if epoch == self.sampler.epoch else 0
        self._resume = (-1, 0)
        self.sampler.skip = self._given * (self.batch_size or 1)
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were given; what was loaded, as long as nothing was given since."""
        epoch, batches = (self.sampler.epoch, self._given) if self._resume[0] < 0 else self._resume
        return {"epoch": epoch, "batches": batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leaves out those batches when that epoch is begun again."""
        self._resume = (state["epoch"], state["batches"])
