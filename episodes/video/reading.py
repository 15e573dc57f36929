"""The functions that the rest calls: which reader, file or folder of images.

``auto``
    PyAV, decoding only what is needed where that is plainly safe. Exact on every file.
``pyav``
    PyAV, decoding from the start. Exact on every file; the yardstick that ``auto`` is tested against.
``decord``
    What released code uses; exact where :func:`decord_exact` says so.
``torchcodec``
    An optional extra.

A folder of images, also inside a zip file (:mod:`episodes.video.images.archive`), and a clip in a packed store
(:mod:`episodes.video.packed`) are read the same way by all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from episodes.video import images, packed, pyav
from episodes.video.foreign import read_decord, read_torchcodec
from episodes.video.info import Choose, Pixels, VideoError, VideoInfo
from episodes.words import pluralise

Reader = Literal["auto", "pyav", "decord", "torchcodec"]


def probe(path: str | Path) -> VideoInfo:
    """Number of frames, frames per second and upright size of a video.

    The number is the one that decoding gives, not the one that the header claims. Files whose packets plainly hold one
    picture each are not decoded for it (H.264, HEVC, VP8 and VP9 in mp4, mov, mkv and webm, nearly always); others are.

    Raises:
        VideoError: when the video cannot be read.
    """
    path = Path(path)
    if packed.is_packed(path):
        return packed.inspect(path)
    images.refuse_image(path)
    return images.inspect(path) if images.is_folder(path) else pyav.inspect(path)[0]


def read_clip(path: str | Path, choose: Choose, reader: Reader = "auto", info: VideoInfo | None = None) -> Pixels:
    """Open a video once, let the caller choose among its frames, read those.

    Args:
        path: a file or a folder of images.
        choose: called once with (number of frames, frames per second); gives the indices, ``(t)`` integers in any
            order, repeats allowed. A ValueError that it raises comes out as a VideoError that names the file.
        reader: see :mod:`episodes.video.reading`.
        info: what :func:`probe` said of this file, if it is at hand: a file that must be decoded to be counted is then
            decoded no further than its last wanted frame.

    Returns:
        ``(t h w c)`` uint8 RGB, upright.

    Raises:
        VideoError: when the video cannot be read or has not the frames asked for.
        ImportError: when the reader is not installed.
    """
    return _read(Path(path), choose, reader, info.frames if info else None)


def read_frames(path: str | Path, indices: npt.ArrayLike, reader: Reader = "auto") -> Pixels:
    """Read frames by their numbers: ``(t h w c)`` uint8 RGB, upright.

    Args:
        path: a file or a folder of images.
        indices: ``(t)`` integers from 0, in any order, repeats allowed.
        reader: see :mod:`episodes.video.reading`.

    Raises:
        VideoError: when the video cannot be read or has not the frames asked for.
        ImportError: when the reader is not installed.
    """
    wanted = np.asarray(indices)
    enough = int(wanted.max()) + 1 if wanted.size and wanted.dtype.kind in "iu" else 1
    return _read(Path(path), lambda frames, fps: wanted, reader, max(enough, 1))


def _read(path: Path, choose: Choose, reader: Reader, frames: int | None) -> Pixels:
    if reader not in get_args(Reader):
        raise ValueError(f"reader must be one of {', '.join(get_args(Reader))}; found {reader!r}.")
    if packed.is_packed(path):
        return packed.read(path, choose)
    if images.is_folder(path):
        return images.read(path, choose)
    images.refuse_image(path)
    if reader == "decord":
        return read_decord(path, choose)
    if reader == "torchcodec":
        return read_torchcodec(path, choose)
    return pyav.read(path, choose, frames, planned=reader == "auto")


def verify(path: str | Path) -> VideoInfo:
    """Decode every frame of a video; what :func:`probe` says of it, now proved.

    Raises:
        VideoError: when one frame cannot be read, or when the packets promise another number than decoding gives.
    """
    path, info = Path(path), probe(path)
    if packed.is_packed(path):
        return packed.verify(path)
    if images.is_folder(path):
        images.verify(path)
        return info
    decoded, _ = pyav.inspect(path, planned=False)
    if decoded != info:
        raise VideoError(
            path, f"{pluralise(decoded.frames, 'frame')} decoded where its packets promise {info.frames}: re-encode it"
        )
    return info


def decord_exact(path: str | Path) -> bool:
    """Is this file of a kind that decord 0.6 reads exactly?

    That is H.264, HEVC, VP8 or VP9 in mp4, mov, mkv or webm: 8-bit 4:2:0, progressive, not mirrored, and without edit
    lists, open groups of pictures or key frames in name only. Other files may be read rightly or wrongly.

    Raises:
        VideoError: when the video cannot be read at all.
    """
    path = Path(path)
    return images.is_folder(path) or packed.is_packed(path) or pyav.inspect(path)[1]
