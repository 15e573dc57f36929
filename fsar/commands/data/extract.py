"""Encode all videos of a benchmark once and keep what no training changes.

That is the features, for methods whose encoder is frozen; the tokens that enter the first trained block, for those that
train the last blocks or adapters in them (0.30 MB a frame of ViT-B/16 in 16 bits); the layers that a network beside the
tower reads (as much for each).

    fsar extract --store runs/features -c data/hmdb51 -c method/clip_fsar
    fsar fit --data.features runs/features -c trainer -c data/hmdb51 -c ...

Give it the same data and method files and options as the run that is to read the features, which are stored under a
key of all that decides them. An interrupted extraction goes on when it is started again. ``--devices`` and
``--num_nodes`` spread it over devices and machines by Lightning's own engine; each process takes every n-th chunk of
16 videos. Of two extractions into one store the second waits for the first; where the second has several processes,
which cannot wait that long for each other, it refuses. ``--shard 3/16`` is the third of sixteen parts, for machines
that know nothing of each other: each encodes its chunks, and whichever ends last joins all; ``--shard auto`` reads the
part from a SLURM array. ``--verify`` reads back what is stored and encodes anew what is damaged or whose videos have
changed. ``--dtype float16`` is close to float32 for weights in float32; ``bfloat16`` is exact for an encoder with
``precision: bf16``, and coarser for any other.
"""

from __future__ import annotations

import os
import re
import time
from argparse import ArgumentTypeError
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, Dataset

from episodes.clips import Contents, Streams, combined
from episodes.datamodule import EpisodicDataModule
from episodes.dataset import ClipDataset
from episodes.features import FeatureStore, FeatureWriter, folder_name, mend, store_key
from episodes.features.key import Key
from episodes.features.precision import Precision
from episodes.files.locks import held_alone
from episodes.words import pluralise
from fsar.build import build_with_trainer
from fsar.encoders import SkeletonViews
from fsar.evaluation.bank import contents, feature_key, to_store
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.training.learner import Learner
from fsar.training.live import EpisodeProgress

Work = list[tuple[FeatureWriter, int]]
Shard = tuple[int, int]
"""Which part, from 0, and of how many."""
SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
TOGETHER = 4
"""Videos that are encoded at a time: all layers of a chunk in float32 may take gigabytes."""


class Chunks(Dataset[tuple[int, Streams]]):
    """Item ``i`` is ``(i, clips)`` of a chunk, ``frames (b m t c h w)``; no clips when another writer was faster."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __len__(self) -> int:
        return len(self.work)

    def __getitem__(self, item: int) -> tuple[int, Streams]:
        writer, chunk = self.work[item]
        return item, Streams() if writer.written(chunk) else writer.read(chunk)


class Extractor(LightningModule):
    """Encodes chunks; one process or many.

    Args:
        learner: whose method's encoder is used.
        datamodule: names the splits and how their clips are made.
        root: the folder of all stores.
        splits: which of ``train``, ``val`` and ``test``; those without videos are left out.
        views: random views of every training video.
        dtype: of the stored features.
        verify: read what is there, and make anew what is damaged or whose videos have changed.
        shard: the part of all chunks that is this job's; others may work on the same stores at the same time.
    """

    def __init__(
        self,
        learner: Learner,
        datamodule: EpisodicDataModule,
        root: Path,
        splits: Sequence[str],
        views: int,
        dtype: Precision,
        verify: bool = False,
        shard: Shard = (0, 1),
    ) -> None:
        super().__init__()
        self.shard = shard
        self.method = learner.method
        self.data = datamodule
        self.root, self.splits, self.views, self.dtype_on_disk = root, splits, views, dtype
        self.verify, self.held = verify, ExitStack()
        self.writers: list[FeatureWriter] = []
        self.work: Work = []
        self.allow_zero_length_dataloader_with_multiple_devices = True  # little may be left to do

    def setup(self, stage: str) -> None:
        """Find out what is left to do; each process takes its share."""
        if isinstance(self.method.encoder, SkeletonViews):
            raise ValueError(
                "what is made of joints is not stored: SkeletonViews reads their files in fsar fit and fsar test, so "
                "leave this step out."
            )
        self.data.trainer, self.data.features = self.trainer, None
        if {"train", "val"} & {*self.splits}:
            self.data.setup("fit")
        if "test" in self.splits:
            self.data.setup("test")
        key, kept = feature_key(self.method), contents(self.method)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        clips = {
            name: self.data.clips(self.data.splits[name], name == "train", stored=True)
            for name in self.splits
            if len(self.data.load().split(name))
        }
        if self.shard == (0, 1):
            self._take(key, list(clips.values()), kept)
        for name, some in clips.items():
            views = self.views if name == "train" else 1
            self.writers.append(FeatureWriter(self.root, some, key, views, self.dtype_on_disk, kept))
        every = [(writer, chunk) for writer in self.writers for chunk in range(len(writer))]
        part, parts = self.shard
        if parts > 1 and self.trainer.is_global_zero:
            own = self.writers[0].parts / f"shard-{part + 1}-of-{parts}"
            self.held.enter_context(held_alone(own, wait=False))  # a part that is started twice is refused
        every = every[part::parts]
        todo = {(writer, chunk) for writer in self.writers for chunk in writer.pending()}
        if todo:
            rank_zero_info(self.cost())
        rank_zero_info(
            f"{pluralise(len(todo), 'chunk')} of videos to encode, and {len(every) - len(todo)} there already"
        )
        # of all chunks, since what is left to do changes while the processes look
        self.work = [item for item in every[rank::world] if item in todo]

    def cost(self) -> str:
        """What a video takes on disk, and all of them, in words; found out on a black clip."""
        side, training = self.data.framing.size, self.method.training
        black = Streams(frames=torch.zeros(1, self.data.frames, 3, side, side, dtype=torch.uint8, device=self.device))
        kept = self.writers[0].rounded(to_store(self.method.eval(), black))
        self.method.train(training)
        bytes_of = {name: value.nbytes for name, value in kept.items()}
        each, count = sum(bytes_of.values()), sum(len(writer.clips) * writer.views for writer in self.writers)
        told = ", ".join(f"{name} {tuple(kept[name].shape[1:])} {size:,} bytes" for name, size in bytes_of.items())
        size = f"all {count} of them {each * count / 2**20:,.1f} MB"
        return f"a view of a video takes {each:,} bytes in {self.dtype_on_disk} ({told}), {size}"

    def _take(self, key: str | Key, clips: Sequence[ClipDataset], kept: Contents) -> None:
        """The first process takes the locks of all stores, in one order for everybody, and mends them if asked to."""
        refusal = ""
        if self.trainer.is_global_zero:
            try:
                for some in sorted(clips, key=lambda some: folder_name(some.split, store_key(some, key))):
                    folder = self.root / folder_name(some.split, store_key(some, key))
                    self.held.enter_context(held_alone(folder, wait=self.trainer.world_size == 1))
                    if self.verify and (count := mend(self.root, some, key, kept)):
                        rank_zero_info(f"{folder}: made anew, for damaged or changed: {pluralise(count, 'chunk')}")
            except OSError as error:
                refusal = str(error)
        if refusal := self.trainer.strategy.broadcast(refusal):  # all processes end, and none waits for the first
            raise BlockingIOError(refusal)

    def predict_dataloader(self) -> DataLoader[tuple[int, Streams]]:
        """This process's chunks, decoded by the data module's number of workers."""
        return DataLoader(Chunks(self.work), batch_size=None, num_workers=self.data.worker_count)

    def predict_step(self, batch: tuple[int, Streams], batch_idx: int) -> int:
        """Encode and write one chunk, and say how many videos it held."""
        item, clips = batch
        writer, chunk = self.work[item]
        if not clips:
            return 0
        some = clips["frames"].split(TOGETHER)
        parts = [writer.rounded(to_store(self.method, Streams(frames=frames))) for frames in some]
        writer.write(chunk, combined(torch.cat, parts))
        return len(clips["frames"])

    @property
    def batch_sizes(self) -> list[int]:
        """Videos of each chunk that is left to this process."""
        return [len(writer.videos(chunk)) for writer, chunk in self.work]

    def on_predict_end(self) -> None:
        """When all processes are done, the first joins the chunks."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            for writer in self.writers:
                if left := len(writer.pending()):
                    rank_zero_info(f"{writer.folder}: left to the other shards: {pluralise(left, 'chunk')}")
                    continue
                with held_alone(writer.folder) if self.shard[1] > 1 else nullcontext():
                    writer.finish()
        self.held.close()
        self.trainer.strategy.barrier()

    def leave(self, new: bool) -> None:
        """After a failure: take back stores that hold nothing, and their folder where it was made for them."""
        if self.writers and (self.shard != (0, 1) or not self.trainer.is_global_zero):
            return  # others may be about to write
        for writer in self.writers:
            writer.leave()
        if new:
            with suppress(OSError):  # something is there, or nothing was made
                self.root.rmdir()

    def stores(self) -> list[FeatureStore]:
        """The complete stores."""
        return [FeatureStore(writer.folder) for writer in self.writers if writer.complete]


@one_message(program="fsar extract")
def main(args: list[str]) -> None:
    """Extract, then say what there is."""
    parser = Options(__doc__, prog="fsar extract")
    parser.add_argument("--store", type=output_folder, required=True, help="of all stores; the run's data.features")
    parser.add_argument("--splits", nargs="+", choices=("train", "val", "test"), default=("train", "val", "test"))
    parser.add_argument("--views", type=int, default=1, help="random views of every training video")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--verify", action="store_true", help="read all back; make anew what is damaged or has changed")
    parser.add_argument("--shard", type=read_shard, default=(0, 1), metavar="I/N|auto", help="the I-th of N parts")
    for name in ("accelerator", "devices", "num_nodes", "strategy"):
        parser.add_argument(f"--{name}", help=f"same as --trainer.{name}")
    own, rest = parser.parse_known_args(args)
    if own.views < 1:
        parser.error(f"--views must be at least 1, found {own.views}")
    if own.verify and own.shard != (0, 1):
        parser.error("--verify looks at whole stores: leave out --shard")
    for name in ("accelerator", "devices", "num_nodes", "strategy"):
        if (value := getattr(own, name)) is not None:
            rest += [f"--trainer.{name}", value]
    learner, data, trainer, _ = build_with_trainer(rest, "fsar extract")
    extractor = Extractor(learner, data, own.store, own.splits, own.views, own.dtype, own.verify, own.shard)
    bars: Any = trainer  # whose list Lightning types nowhere
    bars.callbacks = [EpisodeProgress() if isinstance(each, ProgressBar) else each for each in bars.callbacks]
    start, new = time.perf_counter(), not own.store.exists()
    with extractor.held:
        try:
            trainer.predict(extractor, return_predictions=False)
        except BaseException:
            extractor.leave(new)
            raise
    if not trainer.is_global_zero:
        return
    for store in extractor.stores():
        if own.verify:
            store.verify()
        for name, array in store.arrays.items():
            size = array.nbytes / 2**20
            print(f"{store.folder}: {name}: videos, views, frames, values {array.shape}, {store.dtype}, {size:.1f} MB")
    print(f"{time.perf_counter() - start:.1f} s; read them with data.features={own.store}")


def read_shard(word: str) -> Shard:
    """``3/16`` is the third of sixteen; ``auto`` what SLURM says of the array's task.

    Raises:
        argparse.ArgumentTypeError: for anything else.

    >>> read_shard("3/16")
    (2, 16)
    """
    if word == "auto":
        told = [os.environ.get(name) for name in SLURM]
        if None in told:
            raise ArgumentTypeError(f"auto needs {', '.join(SLURM)}, as sbatch --array sets them; else say 3/16")
        task, first, count = (int(value or 0) for value in told)
        part = task - first + 1
    elif found := re.fullmatch(r"(\d+)/(\d+)", word):
        part, count = int(found[1]), int(found[2])
    else:
        raise ArgumentTypeError(f"expected a part such as 3/16, or auto, found {word!r}")
    if not 1 <= part <= count:
        raise ArgumentTypeError(f"parts are 1/{count} to {count}/{count}, found {part}/{count}")
    return part - 1, count
