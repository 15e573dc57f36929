"""The same episodes on clips that were changed: each video is encoded once for a shift and severity, not for
an episode.

Support clips stay as they are unless they are to be changed too (``on="both"``): a model that was shown good examples
meets a bad clip. Backwards on both sides is no shift to an alignment, which is why the queries alone are the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from episodes.clips import Streams
from episodes.dataset import ClipDataset, ClipLoader, IndexEpisodes, collate_videos, needed_videos
from episodes.episode import VideoBatch
from episodes.features import with_cache
from episodes.sampler import StridedSampler, hash_words
from fsar.evaluation.accuracy import half_interval
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.evaluation.shifts.attack import attack_frames
from fsar.evaluation.shifts.table import ATTACK, SLOW, Middle, Shift, Shifted
from fsar.method import Method, Parts

On = Literal["query", "both"]
Right = NDArray[np.float64]
"""``(e)`` share of the queries that are named right in each episode."""
Progress = Callable[[int], None]
"""Told how many more videos are encoded."""
AT_ONCE = 4
"""Clips that are attacked together: the graph of all their frames is held."""


class Row(NamedTuple):
    """Accuracy after a shift; without a shift where ``shift`` is "clean".

    Attributes:
        shift: its name.
        severity: one of its numbers; 0 for clean.
        accuracy: over episodes.
        interval_95: half the interval of ``accuracy``.
        difference: from the clean clips, on the same episodes.
        difference_interval_95: half the interval of the paired difference.
        episodes: how many.
    """

    shift: str
    severity: float
    accuracy: float
    interval_95: float
    difference: float
    difference_interval_95: float
    episodes: int


def as_row(shift: str, severity: float, right: Right, clean: Right) -> Row:
    """The row of what was measured, beside the same episodes clean."""
    count, less = len(right), right - clean
    spreads = [float(x.std(ddof=1)) if count > 1 else float("nan") for x in (right, less)]
    own, paired = (half_interval(spread, count) for spread in spreads)
    return Row(shift, severity, float(right.mean()), own, float(less.mean()), paired, count)


class QueryBank(VideoBank):
    """A bank of queries beside the support of another bank.

    Args:
        method: of both.
        support: closed.
    """

    def __init__(self, method: Method, support: VideoBank) -> None:
        super().__init__(method, floor=False)
        self.support = support

    def look_up(self, role: str, videos: Tensor, device: torch.device) -> Parts:
        if role == "support":
            return self.support.look_up(role, videos, device)
        return super().look_up(role, videos, device)

    def look_up_means(self, videos: Tensor, device: torch.device) -> Parts:
        return self.support.look_up_means(videos, device)


class Suite:
    """A method and its test episodes, measured clean and under any shift.

    Args:
        learner: with the method, on its device; its trainer is that of the data.
        data: the data module.
        on: whose clips are changed.
        progress: told how many more videos are encoded.

    Raises:
        ValueError: for a method that reads more of a clip than its frames.
    """

    def __init__(self, learner: Any, data: Any, on: On = "query", progress: Progress | None = None) -> None:
        if data.joints is not None:
            raise ValueError("data.joints: shifts change the frames of a clip and not its joints; leave them out.")
        data.refuse_views("fsar robustness")
        self.learner, self.data, self.on = learner.eval(), data, on
        self.tell: Progress = progress or (lambda count: None)
        data.setup("test")
        self.sampler, self.count = data.episode_sampler("test"), data.counts["test"]
        self.videos = needed_videos(self.sampler, self.count)
        self.bank: VideoBank | None = None

    def clean(self) -> Right:
        """Of the clips as they are; from stored or cached features where there are such."""
        self.bank = VideoBank(self.learner.method, floor=False)
        return self._score(self._fill(self.bank, with_cache(self.data, "test", self.videos)))

    def measure(self, name: str, shift: Shift, severity: float) -> Right:
        """Of clips after a shift; after :meth:`clean` where the support stays as it is."""
        if self.on == "query" and self.bank is None:
            self.clean()
        bank = (
            QueryBank(self.learner.method, self.bank)
            if self.on == "query" and self.bank is not None
            else VideoBank(self.learner.method, floor=False)
        )
        batches = self._read(name, shift, severity)
        return self._score(self._fill(bank, self._attacked(batches, severity) if name == ATTACK else batches))

    def _read(self, name: str, shift: Shift, severity: float) -> Iterator[VideoBatch]:
        clips: ClipDataset = self.data.clips(self.data.splits["test"])
        if name == SLOW:
            clips.sampler = Middle(clips.sampler, severity)
        if shift.change is not None:
            clips.transform = Shifted(clips.transform, shift.change, severity, name)
        collate = partial(collate_videos, clips.split, None)
        options = {**self.data.loading(), "persistent_workers": False}
        yield from ClipLoader(
            clips, self.data.video_batch, sampler=StridedSampler(self.videos), collate_fn=collate, **options
        )

    def _attacked(self, batches: Iterator[VideoBatch], epsilon: float) -> Iterator[VideoBatch]:
        method, device = self.learner.method, self.learner.device
        means = self._class_means()
        for batch in batches:
            found = []
            for some in torch.arange(len(batch.videos)).split(AT_ONCE):
                frames = batch.clips["frames"][some]
                start = torch.stack([_start(video, frames[0]) for video in batch.videos[some].tolist()])
                labels, see = batch.classes[some].to(device), partial(_see, method)
                moved = attack_frames(frames.to(device), see, means, labels, int(epsilon), start.to(device))
                found.append(moved.cpu())
            yield replace(batch, clips=Streams(frames=torch.cat(found)))

    @torch.no_grad()
    def _class_means(self) -> Tensor:
        """``(C t d)`` features of the clean clips; zeros of a class that no episode needs, which nothing resembles."""
        sums: Tensor | None = None
        counts = torch.zeros(len(self.sampler.class_names))
        for batch in with_cache(self.data, "test", self.videos):
            frames = self.learner.method.features_of(batch.clips.to(self.learner.device))["frames"].float().cpu()
            if sums is None:
                sums = frames.new_zeros(len(counts), *frames.shape[1:])
            sums.index_add_(0, batch.classes, torch.nn.functional.normalize(frames, dim=-1))
            counts.index_add_(0, batch.classes, torch.ones(len(frames)))
        assert sums is not None  # episodes need videos
        means: Tensor = sums / counts.clamp(min=1)[:, None, None]
        return means.to(self.learner.device)

    def _fill(self, bank: VideoBank, batches: Any) -> VideoBank:
        for batch in batches:
            bank.add(batch.to(self.learner.device))
            self.tell(len(batch.videos))
        bank.close()
        return bank

    def _score(self, bank: VideoBank) -> Right:
        found = []
        for episodes in IndexEpisodes(self.sampler, self.count, self.data.episode_batch):
            batch = episodes.to(self.learner.device)
            logits = score_episodes(bank, batch).logits
            found.append((logits.argmax(-1) == batch.query_labels).double().mean(-1).cpu().numpy())
        return np.concatenate(found)


def _start(video: int, frames: Tensor) -> Tensor:
    """Where the attack of a video begins, whatever batch it comes in: like ``frames``, uniform in -1..1."""
    seed = int(hash_words(0, video, np.arange(1))[0])
    return 2 * torch.rand(frames.shape, generator=torch.Generator().manual_seed(seed)) - 1


def _see(method: Method, frames: Tensor) -> Tensor:
    return method.encode(Streams(frames=frames))["frames"]
