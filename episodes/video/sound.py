"""The sound of a video: one channel at a given rate, at the times of its frames.

A video without a track gives NaN throughout, never silence that pretends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from episodes.video.info import VideoError
from episodes.video.limits import check_time
from episodes.video.opening import open_file
from episodes.video.packed import is_packed

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """How much of a video's sound belongs to a clip.

    Args:
        rate: samples a second.
        seconds: from the middle of the video, or of the part of it that the clip is; silence beyond its ends.

    Raises:
        ValueError: less than one sample.
    """

    rate: int
    seconds: float = 4.0

    def __post_init__(self) -> None:
        if not 1000 <= self.rate <= 192_000 or not 0 < self.seconds < 3600:
            raise ValueError(
                "data.sound_rate is in samples a second, from 1000 to 192000, and data.sound_seconds above 0 and below "
                f"3600; found {self.rate} and {self.seconds}."
            )

    def read(self, path: str | Path, start: float, end: float) -> Samples:
        """``(rate · seconds)`` samples in -1..1 around the middle of ``start`` to ``end``, in seconds; NaN where there
        is no track.

        Raises:
            VideoError: a track that cannot be decoded.
        """
        first = max(start, (start + end - self.seconds) / 2)
        count = round(self.rate * self.seconds)
        found = read_sound(path, self.rate, first, min(end, first + self.seconds))
        if found is None:
            return np.full(count, math.nan, np.float32)
        return np.pad(found[:count], (0, count - len(found[:count])))


def read_sound(path: str | Path, rate: int, start: float, end: float) -> Samples | None:
    """The sound from ``start`` to ``end`` in seconds of the video, one channel at ``rate`` samples a second.

    Args:
        path: of a video; images in a folder have no sound.
        rate: samples a second.
        start: where frame 0 is shown at 0.
        end: samples beyond the end of the track are 0, as are those before its beginning.

    Returns:
        ``(round(rate · (end - start)))`` samples, or None where there is no track.

    Raises:
        VideoError: a track that cannot be decoded, a packed store.
    """
    path = Path(path)
    if is_packed(path):
        raise VideoError(path, "a packed store has no sound: read the videos themselves, or leave data.sound_rate out")
    if path.is_dir():
        return None
    try:
        with open_file(path) as container:
            if not container.streams.audio:
                return None
            return decode(path, container, rate, start, np.zeros(round(rate * (end - start)), np.float32))
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise VideoError(path, f"its sound cannot be decoded ({reason}): re-encode it or leave it out") from error


def has_track(path: str | Path) -> bool:
    """Whether a video has a track of sound; a folder of images and what cannot be opened has none."""
    if Path(path).is_dir() or is_packed(Path(path)):
        return False
    try:
        with open_file(Path(path)) as container:
            return bool(container.streams.audio)
    except (av.FFmpegError, VideoError):
        return False


def decode(path: Path, container: InputContainer, rate: int, start: float, samples: Samples) -> Samples:
    """Fill ``samples``, which begin at ``start`` seconds, from the track that FFmpeg takes for the best."""
    stream = container.streams.best("audio") or container.streams.audio[0]
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    place: int | None = None  # of the next sample
    for frame in container.decode(stream):
        check_time(path)
        if not isinstance(frame, av.AudioFrame):
            continue
        if place is None:
            place = round(rate * (float(frame.time or 0.0) - start))
        for part in resampler.resample(frame):
            place = put(samples, part.to_ndarray()[0], place)
        if place >= len(samples):
            return samples
    for part in resampler.resample(None):
        place = put(samples, part.to_ndarray()[0], place or 0)
    return samples


def put(samples: Samples, part: Samples, place: int) -> int:
    """Write ``part`` at ``place`` of ``samples``, as far as it lies inside; where the next one begins."""
    low, high = max(place, 0), min(place + len(part), len(samples))
    if low < high:
        samples[low:high] = part[low - place : high - place]
    return place + len(part)
