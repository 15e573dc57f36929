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
which cannot wait that long for each other, it refuses. ``--verify`` reads back what is stored and encodes anew what is
damaged or whose videos have changed. ``--dtype float16`` is close to float32 for weights in float32; ``bfloat16`` is
exact for an encoder with ``precision: bf16``, and coarser for any other.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from episodes.datamodule import EpisodicDataModule
from episodes.dataset import ClipDataset
from episodes.features import FeatureStore, FeatureWriter, folder_name, mend, store_key
from episodes.features.key import Key
from episodes.features.precision import Precision
from episodes.locks import held_alone
from fsar.build import build_with_trainer
from fsar.evaluation.bank import feature_key, to_store
from fsar.terminal.failure import Options, one_message
from fsar.training.learner import Learner

Work = list[tuple[FeatureWriter, int]]
TOGETHER = 4
"""Videos that are encoded at a time: all layers of a chunk in float32 may take gigabytes."""


class Chunks(Dataset[tuple[int, Tensor]]):
    """Item ``i`` is ``(i, clips (b m t c h w))`` of a chunk; no clips when another writer was faster."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __len__(self) -> int:
        return len(self.work)

    def __getitem__(self, item: int) -> tuple[int, Tensor]:
        writer, chunk = self.work[item]
        return item, torch.empty(0) if writer.written(chunk) else writer.read(chunk)


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
    ) -> None:
        super().__init__()
        self.method = learner.method
        self.data = datamodule
        self.root, self.splits, self.views, self.dtype_on_disk = root, splits, views, dtype
        self.verify, self.held = verify, ExitStack()
        self.writers: list[FeatureWriter] = []
        self.work: Work = []
        self.allow_zero_length_dataloader_with_multiple_devices = True  # little may be left to do

    def setup(self, stage: str) -> None:
        """Find out what is left to do; each process takes its share."""
        self.data.trainer, self.data.features = self.trainer, None
        self.data.setup("fit")
        self.data.setup("test")
        key = feature_key(self.method)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        clips = {
            name: self.data.clips(self.data.splits[name], name == "train", stored=True)
            for name in self.splits
            if len(self.data.load().split(name))
        }
        self._take(key, list(clips.values()))
        for name, some in clips.items():
            views = self.views if name == "train" else 1
            self.writers.append(FeatureWriter(self.root, some, key, views, self.dtype_on_disk))
        every = [(writer, chunk) for writer in self.writers for chunk in range(len(writer))]
        todo = {(writer, chunk) for writer in self.writers for chunk in writer.pending()}
        rank_zero_info(f"{len(todo)} chunks of videos to encode, {len(every) - len(todo)} are there already")
        # of all chunks, since what is left to do changes while the processes look
        self.work = [item for item in every[rank::world] if item in todo]

    def _take(self, key: str | Key, clips: Sequence[ClipDataset]) -> None:
        """The first process takes the locks of all stores, in one order for everybody, and mends them if asked to."""
        refusal = ""
        if self.trainer.is_global_zero:
            try:
                for some in sorted(clips, key=lambda some: folder_name(some.split, store_key(some, key))):
                    folder = self.root / folder_name(some.split, store_key(some, key))
                    self.held.enter_context(held_alone(folder, wait=self.trainer.world_size == 1))
                    if self.verify and (count := mend(self.root, some, key)):
                        rank_zero_info(f"{folder}: {count} chunks are damaged or have changed, and are made anew")
            except OSError as error:
                refusal = str(error)
        if refusal := self.trainer.strategy.broadcast(refusal):  # all processes end, and none waits for the first
            raise BlockingIOError(refusal)

    def predict_dataloader(self) -> DataLoader[tuple[int, Tensor]]:
        """This process's chunks, decoded by the data module's number of workers."""
        return DataLoader(Chunks(self.work), batch_size=None, num_workers=self.data.worker_count)

    def predict_step(self, batch: tuple[int, Tensor], batch_idx: int) -> int:
        """Encode and write one chunk, and say how many videos it held."""
        item, clips = batch
        writer, chunk = self.work[item]
        if len(clips):
            parts = [writer.rounded(to_store(self.method, some)) for some in clips.split(TOGETHER)]
            writer.write(chunk, torch.cat(parts))
        return len(clips)

    def on_predict_end(self) -> None:
        """When all processes are done, the first joins the chunks."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            for writer in self.writers:
                writer.finish()
        self.held.close()
        self.trainer.strategy.barrier()

    def stores(self) -> list[FeatureStore]:
        """The complete stores."""
        return [FeatureStore(writer.folder) for writer in self.writers]


@one_message(program="fsar extract")
def main(args: list[str]) -> None:
    """Extract, then say what there is."""
    parser = Options(__doc__, prog="fsar extract")
    parser.add_argument("--store", type=Path, required=True, help="folder of all stores; the run's data.features")
    parser.add_argument("--splits", nargs="+", choices=("train", "val", "test"), default=("train", "val", "test"))
    parser.add_argument("--views", type=int, default=1, help="random views of every training video")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--verify", action="store_true", help="read all back; make anew what is damaged or has changed")
    for name in ("accelerator", "devices", "num_nodes", "strategy"):
        parser.add_argument(f"--{name}", help=f"same as --trainer.{name}")
    own, rest = parser.parse_known_args(args)
    if own.views < 1:
        parser.error(f"--views must be at least 1, found {own.views}")
    for name in ("accelerator", "devices", "num_nodes", "strategy"):
        if (value := getattr(own, name)) is not None:
            rest += [f"--trainer.{name}", value]
    learner, data, trainer, _ = build_with_trainer(rest, "fsar extract")
    extractor = Extractor(learner, data, own.store, own.splits, own.views, own.dtype, own.verify)
    start = time.perf_counter()
    warnings.filterwarnings("ignore", message="Total length of `DataLoader` across ranks is zero")
    with extractor.held:
        trainer.predict(extractor, return_predictions=False)
    if not trainer.is_global_zero:
        return
    for store in extractor.stores():
        if own.verify:
            store.verify()
        shape, size = store.features.shape, (store.folder / "features.npy").stat().st_size / 2**20
        print(f"{store.folder}: videos, views, frames, values {shape}, {store.dtype}, {size:.1f} MB")
    print(f"{time.perf_counter() - start:.1f} s; read them with data.features={own.store}")
