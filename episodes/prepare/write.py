"""Frames of a video, made smaller, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from episodes.frames import Indices, segment_centre
from episodes.video import VideoInfo, read_frames
from episodes.video.info import Pixels

MEMORY = 256 * 2**20
"""Bytes of decoded frames that are held at a time; a larger video is gone through in parts."""


@dataclass(frozen=True)
class Frames:
    """The kept frames of one video, read when they are iterated over.

    Args:
        source: the video.
        indices: ``(t)`` of the kept frames.
        per_read: how many are read at a time.
        height: after shrinking, pixels.
        width: after shrinking, pixels.
    """

    source: Path
    indices: Indices
    per_read: int
    height: int
    width: int

    def __iter__(self) -> Iterator[Pixels]:
        for start in range(0, len(self.indices), self.per_read):
            for frame in read_frames(self.source, self.indices[start : start + self.per_read]):
                if frame.shape[:2] == (self.height, self.width):
                    yield frame
                else:
                    image = Image.fromarray(frame).resize((self.width, self.height), Image.Resampling.BICUBIC)
                    yield np.asarray(image)

    def stack(self) -> Pixels:
        """``(t h w c)``."""
        return np.stack(list(self))


def frames_of(source: Path, info: VideoInfo, kept: int, short_side: int) -> Frames:
    """``kept`` frames of a video, the centres of equal segments, their short side at most ``short_side`` pixels."""
    scale = min(1.0, short_side / min(info.height, info.width))
    height, width = round(info.height * scale), round(info.width * scale)
    per_read = max(1, MEMORY // (info.height * info.width * 3))
    return Frames(source, segment_centre(info.frames, kept), per_read, height, width)


def write_jpegs(folder: Path, frames: Frames, quality: int) -> None:
    """A folder ``00001.jpg``, ``00002.jpg``, ..."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f"{number:05}.jpg", quality=quality)


def write_h264(file: Path, frames: Frames, fps: float, crf: int) -> None:
    """An .mp4 of key frames only, so that any frame is decoded by itself. Odd sides lose one row or column."""
    height, width = frames.height // 2 * 2, frames.width // 2 * 2
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "fast", "g": "1", "bf": "0", "tune": "fastdecode"}
        stream.codec_context.thread_count = 1
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), "rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
