"""Opening a file with PyAV: which of its streams is the video, and what must be said of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import av
from av.container import Container, InputContainer
from av.stream import Disposition

from episodes.video.container import check_file
from episodes.video.info import VideoError
from episodes.video.limits import VARIABLE, check_pixels, check_time, max_pixels

# Before PyAV 19 a tag that is not UTF-8 made opening fail; from 19 on the argument is gone.
_open = partial(av.open, metadata_errors="ignore") if int(av.__version__.split(".")[0]) < 19 else av.open
# Those that read one file and no other: no lists (concat, hls, dash, imf), series of images, devices or networks.
_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,h261,h263,h264,hevc,vvc,evc,m4v,ivf,obu,av1,vc1,vc1test,dirac,cavsvideo,avs2,"
    "avs3,flv,live_flv,kux,asf,asf_o,ogg,gif,mxf,gxf,rm,ivr,nut,nuv,nsv,wtv,dv,dhav,mjpeg,mjpeg_2000,smjpeg,dxa,film_cpk,"
    "yuv4mpegpipe,flic,roq,smk,bink,ea,4xm,vivo,xmv,swf,mm,mv,mvi,nc,pva,thp,tmv,usm,mp3,wav,aac,flac,w64,aiff,amr,ac3,au"
)
FEW = 5
"""Pictures below which a stream of them beside a longer one is a cover or a row of thumbnails."""
_PICTURES = {"mjpeg", "png", "apng", "bmp", "gif", "webp", "jpeg2000", "tiff"}
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_stream(path: Path) -> Iterator[av.VideoStream]:
    """The video stream of a file, see :func:`choose_stream`; whatever FFmpeg says inside becomes a VideoError."""
    check_file(path)
    try:
        with open_file(path) as container:
            stream = choose_stream(path, container)
            check_pixels(path, stream.width or 0, stream.height or 0)
            context = stream.codec_context
            context.thread_count = 1
            # Without explode a damaged picture is patched up and passed on as if it were right. A picture may be larger
            # than its file's header says; the decoder counts its margins, too.
            context.options = {"err_detect": "explode", "max_pixels": str(2 * max_pixels() + 2**20)}
            yield stream
    except av.ArgumentError as error:
        raise VideoError(
            path,
            f"cannot be decoded; perhaps a frame has more than {max_pixels():,} pixels: scale it down, or set "
            f"{VARIABLE} to more",
        ) from error
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise VideoError(
            path, f"damaged, or not a video ({reason}): play it to see, then replace, re-encode or leave it out"
        ) from error
    except (UnicodeError, MemoryError, OverflowError) as error:
        raise VideoError(path, f"its header makes no sense ({error!r}): re-encode it or leave it out") from error


def open_file(path: Path) -> InputContainer:
    """The file, by a demuxer that opens no other."""
    try:
        return _open(
            str(path),
            container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
        )
    except av.ArgumentError as error:
        raise VideoError(
            path, "not a video of a kind that is opened: FFmpeg takes it for a list of files, a picture, or a text"
        ) from error


def choose_stream(path: Path, container: Container) -> av.VideoStream:
    """The stream that the ffmpeg command takes: default ones first, then the largest, then the first.

    Source: https://ffmpeg.org/ffmpeg.html#Automatic-stream-selection, with the bonus that its implementation gives to
    the default disposition. Covers are passed over, also those that the file does not call so: streams of less than
    two packets beside longer ones, of less than five where the codec is one of pictures.

    Raises:
        VideoError: when there is no stream, or none that can be decoded.
    """
    streams = video_streams(container)
    if not streams:
        raise VideoError(path, "it has no video stream (sound only?): leave it out")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise VideoError(path, "its codec is unknown to FFmpeg: re-encode it, or leave it out if it is damaged")
    if len(known) > 1:
        packets = _count_packets(path, [stream.index for stream in known])
        known = [stream for stream in known if packets[stream.index] >= _least(stream)] or known
    return max(known, key=_rank)


def video_streams(container: Container) -> list[av.VideoStream]:
    """The video streams that are not marked as covers."""
    return [stream for stream in container.streams.video if not stream.disposition & _COVERS]


def _rank(stream: av.VideoStream) -> int:
    return stream.width * stream.height + 5_000_000 * bool(stream.disposition & Disposition.default)


def _least(stream: av.VideoStream) -> int:
    return FEW if stream.codec_context.name in _PICTURES else 2


def _count_packets(path: Path, wanted: list[int]) -> dict[int, int]:
    """Packets of each stream, counted until all have FEW."""
    packets = dict.fromkeys(wanted, 0)
    with open_file(path) as container:
        for packet in container.demux([container.streams[index] for index in wanted]):
            check_time(path)
            packets[packet.stream.index] += bool(packet.size)
            if min(packets.values()) >= FEW:
                break
    return packets
