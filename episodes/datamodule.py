"""The data side, wired for Lightning: splits, samplers and readers become data loaders. Nothing else happens here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info

from episodes.dataset import (
    ClipDataset,
    ClipLoader,
    EpisodeDataset,
    EpisodeLoader,
    IndexEpisodes,
    Transform,
    collate_videos,
    needed_videos,
    readable,
    refuse_limits,
    refuse_uneven,
)
from episodes.episode import Episode
from episodes.features import StoredClips, made_from, open_store, with_cache
from episodes.frames import FrameSampler, SegmentCentre, SegmentRandom
from episodes.framing import Framing
from episodes.sampler import EpisodeSampler, StridedSampler
from episodes.splits import Benchmark, BenchmarkSource, Split
from episodes.transforms import framed
from episodes.video import Reader


class EpisodicDataModule(LightningDataModule):
    """Episodes for training, and videos with lists of episodes for evaluation.

    A training batch is an :class:`~episodes.episode.Episode` of pixels with a leading axis: support
    ``(e s t c h w)``, query ``(e q t c h w)``, uint8. Validation and test have two loaders, one after the other:
    every needed video once, in batches of type :class:`~episodes.episode.VideoBatch`, then batches of episodes whose
    support ``(e s)`` and query ``(e q)`` are the numbers of those videos. Validation and test episodes are the same in
    every epoch, run and process.

    Args:
        benchmark: where classes and videos come from, such as episodes.splits.Folder. Not needed to predict.
        ways: classes per episode.
        shots: labelled clips per class in training; and in evaluation, unless test_shots is given.
        queries: clips to name per class in training.
        frames: per clip.
        size: side of the square clips in pixels, for transforms that are not given; by default as the encoder asks.
        train_episodes: per epoch. Epoch e trains on episodes number e * train_episodes and following.
        val_episodes: number of validation episodes.
        test_episodes: number of test episodes.
        test_shots: labelled clips per class in validation and test.
        test_queries: clips to name per class in validation and test.
        opposites: evaluate and train only on pairs of classes that are time reversals of each other; needs ways 2.
        drop_small_classes: leave out classes that have fewer than shots + queries clips.
        train_sampler: which frames in training; by default one at random from each of equal segments.
        test_sampler: which frames in evaluation; by default the centre of each of equal segments.
        train_transform: by default resized as the encoder asks (CLIP: short side to 8/7 of size), then one random crop
            per clip; no flip.
        test_transform: by default likewise, then the centre crop.
        reader: how videos are decoded: auto (exact on every file), pyav, decord or torchcodec.
        features: folder that fsar extract filled for this configuration, read instead of the videos: the
            features of a frozen encoder, or what the frozen blocks of an encoder gave of which the last are trained.
        cache: keep what a frozen encoder gives in ``test`` and ``validate`` for the next of them (``FSAR_CACHE``).
        check_videos: look at every video of the splits before the start, and refuse to start on a broken one.
        skip_unreadable: leave broken videos out and list them, instead of refusing to start.
        episodes_per_batch: training episodes in one batch.
        video_batch: videos that are encoded together in evaluation.
        episode_batch: episodes that are scored together in evaluation.
        workers: processes that read videos; by default one per free core, at most 8, and none for stored features. No
            result depends on it.
        seed: of training episodes and of their random frames and crops.
        test_seed: of validation and test episodes, and of their frames and crops if those are random.
    """

    def __init__(
        self,
        benchmark: BenchmarkSource | None = None,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        frames: int = 8,
        size: int | None = None,
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
        reader: Reader = "auto",
        features: str | None = None,
        cache: bool = True,
        check_videos: bool = True,
        skip_unreadable: bool = False,
        episodes_per_batch: int = 1,
        video_batch: int = 16,
        episode_batch: int = 256,
        workers: int | None = None,
        seed: int = 0,
        test_seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {"frames": frames, "size": size, "train_episodes": train_episodes, "val_episodes": val_episodes}
        counts |= {"test_episodes": test_episodes, "episodes_per_batch": episodes_per_batch}
        for name, value in {**counts, "video_batch": video_batch, "episode_batch": episode_batch}.items():
            if value is not None and value < 1:
                raise ValueError(f"data.{name} must be at least 1, found {value}.")
        if workers is not None and workers < 0:
            raise ValueError(f"data.workers must be null, 0 (read in this process) or more, found {workers}.")
        self.benchmark, self.ways, self.shots, self.queries = benchmark, ways, shots, queries
        self.counts = {"train": train_episodes, "val": val_episodes, "test": test_episodes}
        self.test_shots, self.test_queries = shots if test_shots is None else test_shots, test_queries
        self.opposites, self.drop_small_classes = opposites, drop_small_classes
        self.train_sampler, self.test_sampler = train_sampler or SegmentRandom(), test_sampler or SegmentCentre()
        self.size, self.given_transforms = size, (train_transform, test_transform)
        self.follow(Framing.usual(size or 224))
        self.frames, self.reader, self.features = frames, reader, features
        self.check_videos, self.skip_unreadable, self.cache = check_videos, skip_unreadable, cache
        self.episodes_per_batch, self.video_batch, self.episode_batch = episodes_per_batch, video_batch, episode_batch
        self.workers, self.seed, self.test_seed = workers, seed, test_seed
        self.splits: dict[str, Split] = {}
        self.left_out: dict[str, dict[str, str]] = {}
        self._benchmark: Benchmark | None = None
        self.allow_zero_length_dataloader_with_multiple_devices = True

    @property
    def has_validation(self) -> bool:
        """False when the benchmark has no validation classes; then no checkpoint is the best one, keep the last."""
        return bool(self.load().val.class_names)

    def load(self) -> Benchmark:
        """The benchmark as its source gives it, loaded once; broken videos are still in it."""
        if self._benchmark is None:
            if self.benchmark is None:
                raise ValueError("no benchmark: give one, such as class_path: episodes.splits.Folder and its root.")
            self._benchmark = self.benchmark.load()
            for note in self._benchmark.notes:
                rank_zero_info(f"{self._benchmark.name}: {note}")
        return self._benchmark

    def prepare_data(self) -> None:
        """Loads the benchmark in one process before all others do: its source may have files to make."""
        if self.benchmark is not None:
            self.load()

    def setup(self, stage: str) -> None:
        """Looks at every video of the splits that ``fit``, ``validate`` or ``test`` reads, once.

        Raises:
            ValueError: when there is nothing to validate.
            VideoError: when some cannot be read and ``skip_unreadable`` is false.
        """
        self.follow(getattr(getattr(self.trainer, "lightning_module", None), "framing", self.framing))
        if stage == "validate" and not self.has_validation:
            raise ValueError(f"split val of benchmark {self.load().name} has no classes: there is nothing to validate.")
        names = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        new = {name: self.load().split(name) for name in names if name not in self.splits}
        for name in (name for name, split in new.items() if split.class_names):
            self.episode_sampler(name, new[name])  # too few classes or clips are told before any video is read
        for name, split in new.items():
            if self.check_videos and (self.features is None or self.skip_unreadable):
                split, self.left_out[name] = readable(split, self.readers, *self._share, self.skip_unreadable)
            self.splits[name] = split
        if self.trainer is not None and stage == "fit":
            self.trainer.num_sanity_val_steps = 0  # a few batches of videos are not enough for any episode
            if not self.has_validation:
                self.trainer.limit_val_batches = 0

    def follow(self, framing: Framing) -> None:
        """Bring the frames into the form that an encoder asks for, but where a transform was given."""
        if None in self.given_transforms:
            framing.check("data.size", self.size)
        train, test = self.given_transforms
        self.framing = framing
        self.train_transform: Transform = train or framed(framing, "random")
        self.test_transform: Transform = test or framed(framing, "centre")

    def episode_sampler(self, name: str, split: Split | None = None) -> EpisodeSampler:
        """The episodes of split ``train``, ``val`` or ``test``, after :meth:`setup`; before it those of ``split``."""
        split, training = self.splits[name] if split is None else split, name == "train"
        try:
            return EpisodeSampler(
                split.labels,
                ways=self.ways,
                shots=self.shots if training else self.test_shots,
                queries=self.queries if training else self.test_queries,
                seed=self.seed if training else self.test_seed,
                class_names=split.class_names,
                drop_small_classes=self.drop_small_classes,
                opposites=split.opposites if self.opposites else None,
            )
        except ValueError as error:
            raise ValueError(f"split {name} of benchmark {self.load().name}: {error}") from error

    def clips(self, split: Split, training: bool = False, stored: bool = False) -> ClipDataset:
        """Clips of a split, read as training or evaluation does; ``stored`` in a store, the same for every seed."""
        transform = self.train_transform if training else self.test_transform
        self.framing.check(f"data.{'train' if training else 'test'}_transform.size", getattr(transform, "size", None))
        return ClipDataset(
            split,
            self.train_sampler if training else self.test_sampler,
            transform,
            self.frames,
            self.reader,
            (0 if stored else self.seed) if training else self.test_seed,
        )

    def _source(self, name: str) -> ClipDataset | StoredClips:
        """Clips of a split as pixels, or as the features that the encoder of the trainer's module gave them."""
        clips = self.clips(self.splits[name], name == "train", stored=self.features is not None)
        if self.features is None:
            return clips
        module: Any = self.trainer and self.trainer.lightning_module
        if module is None:
            raise ValueError("data.features belong to one encoder, which a Trainer's module must name; found none.")
        return open_store(Path(self.features), clips, module.feature_key())

    def train_dataloader(self) -> EpisodeLoader:
        """Batches of training episodes of pixels, numbered by epoch."""
        refuse_limits(self.trainer)
        count, (rank, world) = self.counts["train"], self._share
        refuse_uneven(count, world, self.episodes_per_batch)
        return EpisodeLoader(
            EpisodeDataset(self._source("train"), self.episode_sampler("train")),
            batch_size=self.episodes_per_batch,
            sampler=StridedSampler(range(count), rank, world, renumber=True),
            collate_fn=Episode.stack,
            **self._reading(),
        )

    def val_dataloader(self) -> list[Iterable[Any]]:
        """Needed videos, then index episodes; an empty list when there are no validation classes."""
        return self._evaluation("val") if self.has_validation else []

    def test_dataloader(self) -> list[Iterable[Any]]:
        """Needed videos, then index episodes."""
        return self._evaluation("test")

    def record(self, name: str) -> dict[str, Any]:
        """What a result on split ``name`` must say of its data: benchmark, coverage, episodes, and their sha256."""
        sampler, benchmark = self.episode_sampler(name), self.load()
        return {
            "benchmark": benchmark.name,
            "benchmark_sha256": benchmark.fingerprint(),
            **benchmark.facts,
            "split": name,
            "split_sha256": self.splits[name].fingerprint(),
            "classes": len(sampler.classes),
            "videos": len(self.splits[name]),
            "videos_left_out": self.left_out.get(name, {}),
            "ways": self.ways,
            "shots": sampler.shots,
            "queries": sampler.queries,
            "opposites": self.opposites,
            "seed": sampler.seed,
            **made_from(self.clips(self.splits[name], name == "train")),
            "features": self.features,
            "episodes": self.counts[name],
            "episodes_sha256": sampler.fingerprint(self.counts[name]),
            "first_1000_sha256": sampler.fingerprint(1000),
        }

    @property
    def _share(self) -> tuple[int, int]:
        """Number of this process, and of all."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _evaluation(self, name: str) -> list[Iterable[Any]]:
        refuse_limits(self.trainer)
        sampler, count = self.episode_sampler(name), self.counts[name]
        videos = with_cache(self, name, needed_videos(sampler, count))
        return [videos, IndexEpisodes(sampler, count, self.episode_batch, *self._share)]

    def video_loader(self, name: str, videos: Sequence[int]) -> ClipLoader:
        """This process's share of some videos of a split, each once, in batches of type ``VideoBatch``."""
        return ClipLoader(
            self._source(name),
            batch_size=self.video_batch,
            sampler=StridedSampler(videos, *self._share),
            collate_fn=partial(collate_videos, self.splits[name]),
            **self._reading(),
        )

    def _reading(self) -> dict[str, Any]:
        """Arguments of a loader that reads videos."""
        workers, pin = self.readers, torch.cuda.is_available()
        return {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": pin}

    @property
    def readers(self) -> int:
        """Number of processes that read, for each process that computes; stored features need none unless asked for."""
        if self.workers is not None or self.features is not None:
            return self.workers or 0
        return min(8, suggested_max_num_workers(self.trainer.num_devices if self.trainer else 1))
