"""What a data module is made of: what an episode is, how a clip is read, how it reaches the trainer.

Each part is a few typed options that are checked when it is made, and does what needs nothing of the other parts.
``data.*`` of a configuration are the fields of all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning.fabric.utilities.data import suggested_max_num_workers

from episodes.dataset import Captions, ClipDataset, Joints, Regions, Transform, are_joints
from episodes.frames import FrameSampler, SegmentCentre, SegmentRandom
from episodes.framing import Framing
from episodes.sampler import EpisodeSampler
from episodes.splits import BenchmarkSource, Split
from episodes.transforms import framed
from episodes.video import Reader
from episodes.video.sound import Sound
from episodes.views import Views


@dataclass(eq=False, repr=False)
class TaskOptions:
    """Which classes and clips an episode has, and how many episodes there are.

    Args:
        benchmark: where classes and videos come from, such as episodes.splits.Folder. Not needed to predict.
        ways: classes per episode in training; and in evaluation, unless test_ways is given.
        shots: labelled clips per class in training; and in evaluation, unless test_shots is given.
        queries: clips to name per class in training.
        test_ways: classes per episode in validation and test.
        test_shots: labelled clips per class in validation and test.
        test_queries: clips to name per class in validation and test.
        train_episodes: per epoch. Epoch e trains on episodes number e * train_episodes and following.
        val_episodes: number of validation episodes.
        test_episodes: number of test episodes.
        opposites: evaluate and train only on pairs of classes that are time reversals of each other; needs ways 2.
        drop_small_classes: leave out classes that have fewer than shots + queries clips.
        seed: of training episodes and of their random frames and crops.
        test_seed: of validation and test episodes, and of their frames and crops if those are random.
    """

    benchmark: BenchmarkSource | None = None
    ways: int = 5
    shots: int = 1
    queries: int = 5
    test_ways: int | None = None
    test_shots: int | None = None
    test_queries: int = 1
    train_episodes: int = 1000
    val_episodes: int = 1000
    test_episodes: int = 10000
    opposites: bool = False
    drop_small_classes: bool = False
    seed: int = 0
    test_seed: int = 0

    def __post_init__(self) -> None:
        refuse_below_one(train_episodes=self.train_episodes, val_episodes=self.val_episodes)
        refuse_below_one(test_episodes=self.test_episodes)
        if self.test_ways is None:
            self.test_ways = self.ways
        if self.test_shots is None:
            self.test_shots = self.shots

    @property
    def counts(self) -> dict[str, int]:
        """How many episodes there are: of an epoch of training, and of each evaluation."""
        return {"train": self.train_episodes, "val": self.val_episodes, "test": self.test_episodes}

    def draw(self, split: Split, training: bool = False) -> EpisodeSampler:
        """The episodes of a split, as training or evaluation has them.

        Raises:
            ValueError: when it has too few classes or clips for one.
        """
        return EpisodeSampler(
            split.labels,
            ways=self.ways if training or self.test_ways is None else self.test_ways,
            shots=self.shots if training or self.test_shots is None else self.test_shots,
            queries=self.queries if training else self.test_queries,
            seed=self.seed if training else self.test_seed,
            class_names=split.class_names,
            drop_small_classes=self.drop_small_classes,
            opposites=split.opposites if self.opposites else None,
            prefix="data." if training else "data.test_",
        )


@dataclass(eq=False, repr=False)
class ClipOptions:
    """Which frames of a video are a clip, and what is done to them.

    Args:
        frames: per clip.
        size: side of the square clips in pixels, for transforms that are not given; by default as the encoder asks.
        train_sampler: which frames in training; by default one at random from each of equal segments.
        test_sampler: which frames in evaluation; by default the centre of each of equal segments.
        train_transform: by default resized as the encoder asks (CLIP: short side to 8/7 of size), then one random crop
            per clip; no flip.
        query_transform: of training queries, where it is another than of support clips.
        mirrored: pairs of training classes that are each other's mirror images, {left class: right class}. Every other
            training clip is mirrored, of these classes by taking a mirrored clip of the opposite one; {} for none such
            class. By default nothing is mirrored.
        test_transform: by default likewise, then the centre crop.
        test_views: several clips and crops of every video in evaluation, {clips: 10, crops: 3}; one by default.
        reader: how videos are decoded: auto (exact on every file), pyav, decord or torchcodec.
        regions: folder with boxes, <class>/<clip>.json of every video, which are tinted before frames are resized.
        regions_colour: red, green or blue.
        joints: folder with joints, <class>/<clip>.npz (.npy, .csv, .json) of every video, for SkeletonViews.
        joints_order: of the joints, ntu, coco or hand; of clips that are files of joints, too.
        sound_rate: samples a second of the stream ``sound``, as fsar.encoders.WithSound reads it; none when left out.
        sound_seconds: of it, from the middle of the clip's part of the video.
        captions: folder with sentences, <class>/<clip>.txt of every training video, a caption a line, for objectives
            that read texts of kind caption.
        captions_per_clip: how many of them, the first ones.
    """

    frames: int = 8
    size: int | None = None
    train_sampler: FrameSampler | None = None
    test_sampler: FrameSampler | None = None
    train_transform: Transform | None = None
    test_transform: Transform | None = None
    reader: Reader = "auto"
    regions: str | None = None
    regions_colour: str = "red"
    joints: str | None = None
    joints_order: str = "ntu"
    query_transform: Transform | None = None
    mirrored: dict[str, str] | None = None
    sound_rate: int | None = None
    sound_seconds: float = 4.0
    captions: str | None = None
    captions_per_clip: int = 1
    test_views: Views | None = None

    def __post_init__(self) -> None:
        refuse_below_one(frames=self.frames, size=self.size, captions_per_clip=self.captions_per_clip)
        self.train_sampler, self.test_sampler = (
            self.train_sampler or SegmentRandom(),
            self.test_sampler or SegmentCentre(),
        )
        self.given_transforms = (self.train_transform, self.test_transform)
        self.follow(Framing.usual(self.size or 224))

    def refuse_views(self, command: str) -> None:
        """Raises ValueError where ``command`` would look at one view though several are asked for."""
        if self.test_views is not None:
            raise ValueError(
                f"data.test_views: {command} looks at one view of every clip: set data.test_views to null."
            )

    def follow(self, framing: Framing) -> None:
        """Bring the frames into the form that an encoder asks for, but where a transform was given."""
        if None in self.given_transforms:
            framing.check("data.size", self.size)
        train, test = self.given_transforms
        self.framing = framing
        self.train_transform = train or framed(framing, "random")
        self.test_transform = test or framed(framing, "centre")
        if self.test_views is not None:
            self.test_views.check(self.test_sampler, self.test_transform)

    def read(
        self, split: Split, training: bool, seed: int, queries: bool = False, several: bool = False
    ) -> ClipDataset:
        """Clips of a split, as training or evaluation reads them; ``queries`` of training, where these differ, and
        ``several`` views of each in evaluation, where they are asked for.

        Raises:
            ValueError: when the encoder cannot take frames of that size.
        """
        sampler, transform = self.test_sampler, self.test_transform
        if training:
            sampler, transform = self.train_sampler, self.train_transform
            transform = self.query_transform or transform if queries else transform
        assert sampler is not None  # since it was made; the transform, too
        assert transform is not None
        self.framing.check(f"data.{'train' if training else 'test'}_transform.size", getattr(transform, "size", None))
        regions = None if self.regions is None else Regions(self.regions, self.regions_colour)
        given = self.joints is not None or are_joints(split)
        joints = Joints(self.joints, self.joints_order) if given else None
        sound = None if self.sound_rate is None else Sound(self.sound_rate, self.sound_seconds)
        said = Captions(self.captions, self.captions_per_clip) if self.captions is not None and training else None
        views = self.test_views if several and not training else None
        beside = (regions, joints, sound, said, views)
        return ClipDataset(split, sampler, transform, self.frames, self.reader, seed, *beside)


@dataclass(eq=False, repr=False)
class LoaderOptions:
    """How clips, or what is stored of them, reach the trainer.

    Args:
        features: folder that fsar extract filled for this configuration, read instead of the videos: the
            features of a frozen encoder, or what the frozen blocks of an encoder gave of which the last are trained.
        cache: keep what a frozen encoder gives in evaluation for the next one (``FSAR_CACHE``).
        check_videos: look at every video of the splits before the start, and refuse to start on a broken one.
        skip_unreadable: leave broken videos out and list them, instead of refusing to start.
        episodes_per_batch: training episodes in one batch.
        video_batch: videos that are encoded together in evaluation.
        episode_batch: episodes that are scored together in evaluation.
        workers: processes that read videos; by default one per free core, at most 8, and none for stored features. No
            result depends on it.
    """

    features: str | None = None
    cache: bool = True
    check_videos: bool = True
    skip_unreadable: bool = False
    episodes_per_batch: int = 1
    video_batch: int = 16
    episode_batch: int = 256
    workers: int | None = None

    def __post_init__(self) -> None:
        refuse_below_one(episodes_per_batch=self.episodes_per_batch)
        refuse_below_one(video_batch=self.video_batch, episode_batch=self.episode_batch)
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"data.workers must be null, 0 (read in this process) or more, found {self.workers}.")

    def count_workers(self, devices: int = 1) -> int:
        """How many processes read for each that computes; stored features need none unless asked for.

        Args:
            devices: how many compute on this machine.
        """
        if self.workers is not None or self.features is not None:
            return self.workers or 0
        return min(8, suggested_max_num_workers(devices))


def refuse_below_one(**counts: int | None) -> None:
    """Look at options that count something.

    Raises:
        ValueError: naming the one that is below 1.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"data.{name} must be at least 1, found {value}.")


def refuse_uneven(episodes: int, world: int, per_batch: int) -> None:
    """Raises ValueError for training episodes of an epoch that processes cannot share evenly in whole batches."""
    step = world * per_batch
    if episodes < step or episodes % step:
        raise ValueError(
            f"train_episodes={episodes} cannot be shared evenly by {world} processes with episodes_per_batch="
            f"{per_batch}; give a multiple of {step}, such as {max(episodes // step, 1) * step}."
        )


def refuse_limits(trainer: Any) -> None:
    """Cutting a loader short would take videos away from episodes that need them.

    Raises:
        ValueError: when an option of the trainer would.
    """
    for limit in ("overfit_batches", "limit_val_batches", "limit_test_batches"):
        value = getattr(trainer, limit, 0)
        if value and (value != 1.0 or isinstance(value, int)):
            raise ValueError(
                f"trainer.{limit}={value} (fast_dev_run sets it too) would cut off videos that the episodes need; "
                "for a short run lower train_episodes, val_episodes, test_episodes and trainer.max_epochs instead."
            )
