"""The data side, wired for Lightning: splits, samplers and readers become data loaders. Nothing else happens here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info

from episodes.dataset import (
    ClipDataset,
    ClipLoader,
    EpisodeDataset,
    EpisodeLoader,
    IndexEpisodes,
    Mirroring,
    collate_videos,
    leave_out_broken,
    needed_videos,
)
from episodes.episode import Episode
from episodes.features import StoredClips, made_from, open_clips, with_cache
from episodes.parts import ClipOptions, LoaderOptions, TaskOptions, refuse_limits, refuse_uneven
from episodes.sampler import EpisodeSampler, StridedSampler, tell_small
from episodes.splits import Benchmark, Split, explain_division
from episodes.video.sound import has_track


@dataclass(eq=False, repr=False)
class EpisodicDataModule(LoaderOptions, ClipOptions, TaskOptions, LightningDataModule):
    """Episodes for training, and videos with lists of episodes for evaluation.

    A training batch is an :class:`~episodes.episode.Episode` of pixels with a leading axis: support
    ``(e s t c h w)``, query ``(e q t c h w)``, uint8. Validation and test have two loaders, one after the other:
    every needed video once, in batches of type :class:`~episodes.episode.VideoBatch`, then batches of episodes whose
    support ``(e s)`` and query ``(e q)`` are the numbers of those videos. Validation and test episodes are the same in
    every epoch, run and process.

    Its options are those of its parts, see :mod:`episodes.parts`: what an episode is, how a clip is read, how it gets
    here. Without validation classes its list of validation loaders is empty, and Lightning warns of that.
    """

    def __post_init__(self) -> None:
        for part in (TaskOptions, ClipOptions, LoaderOptions):
            part.__post_init__(self)
        LightningDataModule.__init__(self)
        self.splits: dict[str, Split] = {}
        self.left_out: dict[str, dict[str, str]] = {}
        self.images_left_out: dict[str, dict[str, str]] = {}
        self.together: tuple[int, ...] = ()  # values of test_shots whose videos the first evaluation gives for all
        self.encoded = False
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
        if self.test_views is not None and self.features is not None:
            raise ValueError(
                "data.test_views: a store of features holds one view of every clip that is tested: leave out "
                "data.features, or test one view."
            )
        self.follow(getattr(getattr(self.trainer, "lightning_module", None), "framing", self.framing))
        if stage == "validate" and not self.has_validation:
            raise ValueError(f"split val of benchmark {self.load().name} has no classes: there is nothing to validate.")
        names = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        new = {name: self.load().split(name) for name in names if name not in self.splits}
        for name in (name for name, split in new.items() if split.class_names or name != "val"):
            self.episode_sampler(name, new[name])  # too few classes or clips are told before any video is read
        for name, split in new.items():
            if self.check_videos and (self.features is None or self.skip_unreadable):
                split, self.left_out[name], self.images_left_out[name] = leave_out_broken(
                    split, self.worker_count, *self._share, self.skip_unreadable, self.joints_order
                )
            if self.sound_rate is not None and self.features is None and is_silent(split):
                rank_zero_info(
                    f"data.sound_rate: no video of split {name} has a track of sound, so none is heard there"
                )
            self.splits[name] = split

    def episode_sampler(self, name: str, split: Split | None = None) -> EpisodeSampler:
        """The episodes of split ``train``, ``val`` or ``test``, after :meth:`setup`; before it those of ``split``."""
        try:
            return self.draw(self.splits[name] if split is None else split, name == "train")
        except ValueError as error:
            drawn = explain_division(self.benchmark, self.load()) if "classes" in str(error) else ""
            raise ValueError(f"split {name} of benchmark {self.load().name}: {error}{drawn}") from error

    def clips(self, split: Split, training: bool = False, stored: bool = False, several: bool = False) -> ClipDataset:
        """Clips of a split, read as training or evaluation does; ``stored`` in a store, the same for every seed;
        ``several`` views of each, where ``test_views`` asks for them, as accuracy is measured."""
        seed = (0 if stored else self.seed) if training else self.test_seed
        return self.read(split, training, seed, several=several)

    def _tell_small(self, name: str, sampler: EpisodeSampler) -> EpisodeSampler:
        """The sampler, once the classes that it leaves out are told."""
        if small := tell_small(name, sampler.shots + sampler.queries, sampler.left_out):
            rank_zero_info(small)
        return sampler

    def _source(self, name: str) -> ClipDataset | StoredClips:
        """Clips of a split as pixels, or as the features that the encoder of the trainer's module gave them."""
        clips = self.clips(self.splits[name], name == "train", stored=self.features is not None, several=True)
        if self.features is None:
            return clips
        module: Any = self.trainer and self.trainer.lightning_module
        if module is None:
            raise ValueError("data.features belong to one encoder, which a Trainer's module must name; found none.")
        return open_clips(Path(self.features), clips, module.feature_key(), module.contents())

    def train_dataloader(self) -> EpisodeLoader:
        """Batches of training episodes of pixels, numbered by epoch."""
        refuse_limits(self.trainer)
        count, (rank, world) = self.counts["train"], self._share
        refuse_uneven(count, world, self.episodes_per_batch)
        own = self._training_only()
        return EpisodeLoader(
            EpisodeDataset(self._source("train"), self._tell_small("train", self.episode_sampler("train")), *own),
            batch_size=self.episodes_per_batch,
            sampler=StridedSampler(range(count), rank, world, renumber=True),
            collate_fn=Episode.stack,
            **self.loading(),
        )

    def _training_only(self) -> tuple[ClipDataset | None, Mirroring | None]:
        """The source of training queries where it is another, and which training clips are mirrored."""
        asked = [n for n in ("query_transform", "mirrored") if getattr(self, n) is not None]
        if asked and self.features is not None:
            raise ValueError(f"data.{asked[0]} works on pixels, which data.features take the place of: leave out one.")
        split = self.splits["train"]
        queries = self.read(split, True, self.seed, queries=True) if self.query_transform else None
        if self.mirrored is None:
            return queries, None
        transforms = [each for each in (self.train_transform, self.query_transform) if getattr(each, "flip", False)]
        beside = [f"data.{name} are not mirrored" for name in ("joints", "captions") if getattr(self, name) is not None]
        if transforms or beside:
            what = "the transform's flip would mirror once more" if transforms else beside[0]
            raise ValueError(f"data.mirrored mirrors training clips, and {what}: leave out one of the two.")
        return queries, Mirroring(split, self.mirrored, self.seed)

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
            "classes_left_out": sampler.left_out,
            "videos": len(self.splits[name]),
            "videos_left_out": self.left_out.get(name, {}),
            "images_left_out": self.images_left_out.get(name, {}),
            "ways": sampler.ways,
            "shots": sampler.shots,
            "queries": sampler.queries,
            "opposites": self.opposites,
            "seed": sampler.seed,
            **made_from(self.clips(self.splits[name], name == "train", several=True)),
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
        sampler, count = self._tell_small(name, self.episode_sampler(name)), self.counts[name]
        episodes = IndexEpisodes(sampler, count, self.episode_batch, *self._share)
        if self.encoded:
            return [episodes]
        needed, first = set(needed_videos(sampler, count)), self.test_shots
        for shots in self.together:
            self.test_shots = shots
            needed |= set(needed_videos(self.episode_sampler(name), count))
        self.test_shots, self.encoded = first, bool(self.together)
        return [with_cache(self, name, sorted(needed)), episodes]

    def video_loader(self, name: str, videos: Sequence[int]) -> ClipLoader:
        """This process's share of some videos of a split, each once, in batches of type ``VideoBatch``."""
        source = self._source(name)
        views = source.views if isinstance(source, ClipDataset) else None
        return ClipLoader(
            source,
            batch_size=self.video_batch,
            sampler=StridedSampler(videos, *self._share),
            collate_fn=partial(collate_videos, self.splits[name], views),
            **self.loading(),
        )

    def loading(self) -> dict[str, Any]:
        """Arguments of a loader that reads videos."""
        workers, pin = self.worker_count, torch.cuda.is_available()
        return {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": pin}

    @property
    def worker_count(self) -> int:
        """Number of processes that read, for each process that computes."""
        return self.count_workers(self.trainer.num_devices if self.trainer else 1)


def is_silent(split: Split) -> bool:
    """Whether no video has a track of sound; looks no further than the first that has."""
    return not any(has_track(split.path(video)) for video in range(len(split)))
