"""Other libraries as readers. They are exact on ordinary files and silently wrong on some: see each one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from episodes.video.info import Choose, Pixels, VideoError, checked_indices
from episodes.video.opening import open_stream, video_streams


def read_decord(path: Path, choose: Choose) -> Pixels:
    """Read with decord, as the released code of most papers does.

    decord 0.6 gives wrong frames, without a word, on MPEG-4 .avi with B-frames (the family of UCF101 and HMDB51) and
    on files cut without re-encoding; :func:`episodes.video.decord_exact` says whether a file is safe.

    Raises:
        VideoError: when decord refuses the file (AV1, GIF and damaged ones among them), or when it has several video
            streams and decord reads, or may read, another one than it should.
        ImportError: where decord is not installed.
    """
    stream, others = _streams(path)
    decord = _decord()
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        # It cannot be told which stream to read; the sides, whichever way up, tell which one it did.
        if others and (_sides(*reader[0].shape[:2]) != stream.sides or stream.sides in [one.sides for one in others]):
            raise VideoError(path, "decord may read another of its video streams: use reader 'auto'")
        indices = checked_indices(path, choose, len(reader), float(reader.get_avg_fps()))
        unique, inverse = np.unique(indices, return_inverse=True)
        return reader.get_batch(unique.tolist()).asnumpy()[inverse]
    except (decord.DECORDError, RuntimeError) as error:
        said = str(error).strip().splitlines()
        raise VideoError(path, f"decord cannot read it ({said[-1] if said else error!r}): use reader 'auto'") from error


class _Stream(NamedTuple):
    """A video stream: its number in the file, and the shorter and longer side of its frames."""

    number: int
    sides: tuple[int, ...]


def _sides(*sides: int) -> tuple[int, ...]:
    return tuple(sorted(sides))


def _streams(path: Path) -> tuple[_Stream, list[_Stream]]:
    """The video stream that is to be read, and the others."""
    with open_stream(path) as stream:
        found = [_Stream(one.index, _sides(one.width, one.height)) for one in video_streams(stream.container)]
        chosen = next(one for one in found if one.number == stream.index)
    return chosen, [one for one in found if one is not chosen]


def _decord() -> Any:
    """The module, loaded after torch: the other way round crashes on some machines."""
    import torch  # noqa: F401

    try:
        import decord
    except ImportError as error:
        raise ImportError("reader 'decord' needs decord, which has no wheel here: use reader 'auto'.") from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def read_torchcodec(path: Path, choose: Choose) -> Pixels:
    """Read with torchcodec in its exact mode (it is off by one or two on MPEG-4 .avi with B-frames all the same).

    Raises:
        VideoError: when torchcodec refuses the file.
        ImportError: where torchcodec, or the FFmpeg that it needs, is not installed.
    """
    stream, _ = _streams(path)
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(
            "reader 'torchcodec' needs the extra `torchcodec` (pip install 'fsar[torchcodec]') in the release that "
            "matches torch, and the system's FFmpeg libraries; or use reader 'auto'."
        ) from error
    try:
        decoder = VideoDecoder(
            str(path), stream_index=stream.number, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
        )
        indices = checked_indices(path, choose, len(decoder), float(decoder.metadata.average_fps or 0))
        return decoder.get_frames_at(indices.tolist()).data.numpy()
    except VideoError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        said = str(error).strip().splitlines()
        raise VideoError(path, f"torchcodec cannot read it ({said[0] if said else error!r}): use 'auto'") from error
