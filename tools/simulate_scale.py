"""Does a data set of 100,000 videos and a test of 1,000,000 episodes fit, and what does each part of it cost?

    python tools/simulate_scale.py [--videos 100000] [--episodes 1000000] [--scored 20000] [--memory 2e8]

Listing is of real, empty files in a temporary folder; features are random numbers in the place of an encoder's. The
bank may hold --memory bytes and goes to a temporary file beyond. Shown are seconds of the processor and the memory that
the process holds of its own, which a mapped file is not. Of the episodes --scored are scored through the alignment; in
results all have random scores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from episodes.clips import Features
from episodes.dataset import IndexEpisodes
from episodes.episode import VideoBatch
from episodes.listing import Name
from episodes.sampler import EpisodeSampler
from episodes.splits import Folder, Split
from fsar.alignment import OTAM
from fsar.encoders.frame import FrameEncoder
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.evaluation.bank.shelf import Shelf
from fsar.evaluation.results import Predictions, summarise, write_rows
from fsar.methods import Prototype
from fsar.terminal.failure import Options, one_message

CLASSES, FRAMES, CHANNELS, TOGETHER = 100, 8, 512, 256


@contextmanager
def told(what: str, count: int) -> Iterator[None]:
    """Print what a stage took, and what is held at its end."""
    start = time.process_time()
    yield
    seconds = time.process_time() - start
    print(
        f"{what:<34}{seconds:9.1f} s{1e6 * seconds / count:12.1f} us each{own_memory() / 1e6:10.0f} MB held", flush=True
    )


def own_memory() -> int:
    """Bytes of this process that are no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    return 0


def list_videos(folder: Path, videos: int) -> Split:
    """Empty files, a folder for each class, found as one's own clips are."""
    for label in range(CLASSES + 2):
        (folder / f"class_{label:03d}").mkdir()
    for video in range(videos):
        (folder / f"class_{video % CLASSES:03d}" / f"{video:07d}.mp4").touch()
    for label in (CLASSES, CLASSES + 1):  # a split for training and one for validation
        (folder / f"class_{label:03d}" / "clip.mp4").touch()
    names: list[Name] = [f"class_{label:03d}" for label in range(CLASSES + 2)]
    with told("listing files on disk", videos):
        benchmark = Folder(str(folder), names[-2:-1], names[-1:], names[:-2], twice="keep").load()
        benchmark.test.fingerprint()
    return benchmark.test


def fill_bank(split: Split, limit: int) -> VideoBank:
    """A bank of random features."""
    encoder = FrameEncoder(nn.Identity(), CHANNELS, 224, (0.0,) * 3, (1.0,) * 3)
    bank, labels = VideoBank(Prototype(encoder, OTAM()).eval(), floor=False), torch.tensor(split.labels)
    bank._shelf = Shelf(limit)
    most = 0
    with told(f"bank of {len(split) * FRAMES * CHANNELS * 4 / 1e9:.1f} GB", len(split)):
        for numbers in torch.arange(len(split)).split(TOGETHER):
            features = Features(frames=torch.randn(len(numbers), FRAMES, CHANNELS))
            bank.add(VideoBatch(numbers, features, labels[numbers], split.class_names))
            most = max(most, own_memory())
        bank.close()
    print(f"{'  most that was held meanwhile':<34}{most / 1e6:47.0f} MB")
    return bank


@one_message(program="simulate_scale")
def main(args: list[str] | None = None) -> None:
    """All stages, one after the other."""
    parser = Options(__doc__, prog="simulate_scale.py")
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--episodes", type=int, default=1_000_000)
    parser.add_argument("--scored", type=int, default=20_000, help="episodes that are really scored")
    parser.add_argument("--memory", type=float, default=2e8, help="bytes that the bank may hold")
    own = parser.parse_args(args)
    torch.manual_seed(0)
    print(f"{own.videos:,} videos, {own.episodes:,} episodes of 5 ways and 1 shot; {own_memory() / 1e6:.0f} MB held")
    with tempfile.TemporaryDirectory() as folder:
        split = list_videos(Path(folder), own.videos)
    sampler = EpisodeSampler(split.labels, 5, 1, 1, 0, split.class_names)
    with told("sampling", own.episodes):
        for _ in IndexEpisodes(sampler, own.episodes, TOGETHER):
            pass
    bank, predictions = fill_bank(split, int(own.memory)), Predictions()
    with told("scoring (OTAM), a part of them", own.scored):
        for episodes in IndexEpisodes(sampler, own.scored, TOGETHER):
            score_episodes(bank, episodes)
    for episodes in IndexEpisodes(sampler, own.episodes, TOGETHER):
        predictions.add(episodes, torch.randn(len(episodes.number), 5, 5))
    with told("results", own.episodes):
        arrays = predictions.arrays()
        summarise(arrays, split.class_names)
        np.unique(np.concatenate(sampler.episodes(np.arange(own.episodes)), axis=1), axis=0)
    with tempfile.TemporaryDirectory() as folder, told("rows of the results", own.episodes):
        write_rows(Path(folder, "episodes.csv.gz"), arrays, split.class_names, list(split.paths))
        size = Path(folder, "episodes.csv.gz").stat().st_size
    print(f"{'  on disk':<34}{size / 1e6:47.0f} MB")


if __name__ == "__main__":
    main()
