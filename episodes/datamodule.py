"""The data side, wired for Lightning: splits, samplers and readers become data loaders. Nothing else happens here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch import LightningDataModule
from torch import distributed

from episodes.dataset import (
    ClipDataset,
    EpisodeDataset,
    EpisodeLoader,
    FrameSampler,
    IndexEpisodes,
    QueryEpisodes,
    Transform,
    VideoLoader,
    needed_videos,
)
from episodes.episode import Episode
from episodes.frames import SegmentCentre, SegmentRandom
from episodes.sampler import EpisodeSampler, StridedSampler
from episodes.splits import Benchmark, BenchmarkSource, Split, find_clips, labelled_clips
from episodes.transforms import ClipTransform
from episodes.video import VideoError, find_unreadable


class EpisodicDataModule(LightningDataModule):
    """Episodes for training, and videos with lists of episodes for evaluation.

    A training batch is an :class:`~episodes.episode.Episode` of pixels with a leading axis: support
    ``(e s t c h w)``, query ``(e q t c h w)``, uint8. Validation and test have two loaders, one after the other:
    every needed video once as ``(index (b), clip (b t c h w))``, then batches of episodes whose support ``(e s)`` and
    query ``(e q)`` are those indices. Validation and test episodes are the same in every epoch, run and process.

    Args:
        benchmark: where classes and videos come from, such as episodes.splits.Folder. Not needed to predict.
        ways: classes per episode.
        shots: labelled clips per class in training; and in evaluation, unless test_shots is given.
        queries: clips to name per class in training.
        frames: per clip.
        size: side of the square clips in pixels, for transforms that are not given; the encoder's image size.
        train_episodes: per epoch. Epoch e trains on episodes number e * train_episodes and following.
        val_episodes: number of validation episodes.
        test_episodes: number of test episodes.
        test_shots: labelled clips per class in validation and test.
        test_queries: clips to name per class in validation and test.
        opposites: evaluate and train only on pairs of classes that are time reversals of each other; needs ways 2.
        drop_small_classes: leave out classes that have fewer than shots + queries clips.
        train_sampler: which frames in training; by default one at random from each of equal segments.
        test_sampler: which frames in evaluation; by default the centre of each of equal segments.
        train_transform: by default short side to 8/7 of size, then one random crop per clip; no flip.
        test_transform: by default short side to 8/7 of size, then the centre crop.
        reader: how videos are decoded: auto (exact on every file), pyav, decord or torchcodec.
        check_videos: look at every video of the splits before the start, and refuse to start on a broken one.
        skip_unreadable: leave broken videos out and list them, instead of refusing to start.
        episodes_per_batch: training episodes in one batch.
        video_batch: videos that are encoded together in evaluation.
        episode_batch: episodes that are scored together in evaluation.
        workers: processes that read videos; by default one per free CPU core, at most 8. No result depends on it.
        seed: of training episodes and of their random frames and crops.
        test_seed: of validation and test episodes, and of their frames and crops if those are random.
        support: for predict, a folder with one folder of labelled clips per class.
        query: for predict, a clip or a folder of clips to name.
    """

    def __init__(
        self,
        benchmark: BenchmarkSource | None = None,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        frames: int = 8,
        size: int = 224,
        train_episodes: int = 1000,
        val_episodes: int = 1000,
        test_episodes: int = 10000,
        test_shots: int | None = None,
        test_queries: int = 1,
        opposites: bool = False,
        drop_small_classes: bool = False,
        train_sampler: FrameSampler | None = None,
        test_sampler: FrameSampler | None = None,
        train_transform: Transform | None = None,
        test_transform: Transform | None = None,
        reader: str = "auto",
        check_videos: bool = True,
        skip_unreadable: bool = False,
        episodes_per_batch: int = 1,
        video_batch: int = 16,
        episode_batch: int = 256,
        workers: int | None = None,
        seed: int = 0,
        test_seed: int = 0,
        support: str | os.PathLike[str] | None = None,
        query: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.benchmark, self.ways, self.shots, self.queries = benchmark, ways, shots, queries
        self.counts = {"train": train_episodes, "val": val_episodes, "test": test_episodes}
        self.test_shots, self.test_queries = test_shots or shots, test_queries
        self.opposites, self.drop_small_classes = opposites, drop_small_classes
        short_side = round(size * 8 / 7)
        self.train_sampler, self.test_sampler = train_sampler or SegmentRandom(), test_sampler or SegmentCentre()
        self.train_transform = train_transform or ClipTransform(size, resize_to=short_side, crop="random")
        self.test_transform = test_transform or ClipTransform(size, resize_to=short_side, crop="centre")
        self.frames, self.reader = frames, reader
        self.check_videos, self.skip_unreadable = check_videos, skip_unreadable
        self.episodes_per_batch, self.video_batch, self.episode_batch = episodes_per_batch, video_batch, episode_batch
        self.workers, self.seed, self.test_seed = workers, seed, test_seed
        self.support, self.query = support, query
        self.splits: dict[str, Split] = {}
        self.left_out: dict[str, dict[str, str]] = {}
        self._benchmark: Benchmark | None = None
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more processes than query chunks in predict

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.trainer.global_rank if self.trainer else 0

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.trainer.world_size if self.trainer else 1

    @property
    def has_validation(self) -> bool:
        """False when the benchmark has no validation classes: keep the last checkpoint, there is no best one."""
        return bool(self.load().val.class_names)

    def load(self) -> Benchmark:
        """The benchmark, as its source gives it; loaded once."""
        if self._benchmark is None:
            if self.benchmark is None:
                raise ValueError(
                    "no benchmark: give data.benchmark, such as class_path: episodes.splits.Folder with a root folder."
                )
            self._benchmark = self.benchmark.load()
        return self._benchmark

    def prepare_data(self) -> None:
        """Loads the benchmark in one process first: a source may have files to make."""
        if self.benchmark is not None:
            self.load()

    def setup(self, stage: str) -> None:
        """Looks at every video of the stage's splits.

        Raises:
            VideoError: when one cannot be read and ``skip_unreadable`` is false.
        """
        names = {"fit": ["train", "val"], "validate": ["val"], "test": ["test"]}.get(stage, [])
        for name in names:
            if name not in self.splits:
                self.splits[name] = self._readable(self.load().split(name))

    def _readable(self, split: Split) -> Split:
        if not self.check_videos:
            return split
        mine = [split.path(video) for video in StridedSampler(range(len(split)), self.rank, self.world)]
        broken = find_unreadable(mine, self._workers)
