"""What each form of a data set costs and gives, measured on some of its own videos."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from episodes.frames import SegmentRandom
from episodes.prepare.convert import Form, Settings, name_of, prepare, target
from episodes.video import VideoError, packed, read_clip
from episodes.words import pluralise

PACKED_FRAMES = 24
"""Kept in a packed store where the settings keep all: an odd multiple of 8, so that 8 frames at the centres of segments
are exactly those of the whole video, and three per segment for random sampling to choose from."""


@dataclass(frozen=True)
class FormCost:
    """One form of a data set.

    Args:
        form: ``as it is``, or one of the forms.
        clips_per_second: read by one process, from files that the system has in memory.
        bytes_per_clip: on disk, average.
        seconds_per_clip: of one process to prepare it.
    """

    form: str
    clips_per_second: float
    bytes_per_clip: float
    seconds_per_clip: float


def measure(
    root: Path, videos: Sequence[str], folder: Path, settings: Settings, frames: int = 8, repeats: int = 3
) -> Iterator[FormCost]:
    """Reads some videos as they are, prepares them in every form and reads them again.

    Args:
        root: the folder that the paths start from.
        videos: a sample of the data set.
        folder: an empty one, for the results.
        settings: of every form; ``form`` itself is not looked at.
        frames: of a clip, one random frame from each of equal segments.
        repeats: how often every clip is read.

    Raises:
        VideoError: when a video cannot be read.
    """
    sources = [root / video for video in videos]
    size = sum(_size(path) for path in sources) / len(videos)
    yield FormCost("as it is", _speed(sources, frames, repeats), size, 0.0)
    forms: tuple[Form, ...] = ("h264", "jpeg", "pack")
    for form in forms:
        out = folder / ("measured.pack" if form == "pack" else form)
        kept = settings.frames or (PACKED_FRAMES if form == "pack" else 0)
        start = time.perf_counter()
        failed = prepare(root, out, videos, replace(settings, form=form, frames=kept))
        seconds = (time.perf_counter() - start) / len(videos)
        for video, cause in failed.items():
            raise VideoError(root / video, cause)
        clips = [out / name_of(video) if form == "pack" else target(out, video, form) for video in videos]
        size = _size(out) / len(videos) if form == "pack" else sum(_size(clip) for clip in clips) / len(videos)
        yield FormCost(
            f"{form}, {pluralise(kept, 'frame')}" if kept else form, _speed(clips, frames, repeats), size, seconds
        )


def _speed(clips: Sequence[Path], frames: int, repeats: int) -> float:
    """Clips per second, after each was read once."""
    generator, sampler = np.random.default_rng(0), SegmentRandom()

    def choose(count: int, fps: float) -> np.ndarray:
        return sampler(count, frames, generator, fps)

    start = 0.0
    for turn in range(repeats + 1):
        if turn == 1:
            start = time.perf_counter()
        for clip in clips:
            if packed.is_packed(clip):
                packed.read(clip, choose)
            else:
                read_clip(clip, choose)
    return len(clips) * repeats / (time.perf_counter() - start)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
