"""Reading with PyAV: exact on every file, because decoding from the start is what it does or what it is tested against.

The packets of a file are demuxed once and held. Where :func:`episodes.video.packets.planner.plan` finds it plainly
safe, only the groups of pictures with wanted frames are decoded, up to the last wanted one and without the unused
pictures between; the frames are bit-identical to decoding everything. Elsewhere everything is decoded up to the last
wanted frame, or to the end where the number of frames is not known yet.

Eight frames of the clip of ``tools/bench_decoding.py`` take 78 ms, 1.7 times as fast as decord. FFmpeg's decoder has
66 of them for 140 of 300 pictures, all of which others refer to, as far as can be told without decoding; 5 are
opening (FFmpeg decodes a few pictures to learn their delay), 2 demuxing, 2 the plan, 3 RGB. Were those free it would
be 1.9 to 2 times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

from episodes.video.info import Choose, Pixels, VideoError, VideoInfo, checked_indices
from episodes.video.limits import PACKETS, PATIENCE, check_time
from episodes.video.notes import count_unshown, note_file
from episodes.video.opening import open_stream
from episodes.video.packets.bitstream import Picture, peek_for
from episodes.video.packets.planner import Plan, plan

MEMORY = 256 * 2**20
"""Bytes of packets, and again of decoded frames, that are held at most; a larger video is gone through twice."""

NO_FRAMES = "not one frame decodes: replace the file or leave it out"
_STREAM_FORMATS = {"mpegts", "mpeg", "h264", "hevc", "mpegvideo", "m4v"}
"""Those of broadcasts, which may begin and be cut anywhere."""
_PLANNED_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}


def _packets(path: Path, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream; the last one is empty and drains the decoder."""
    container = stream.container
    assert isinstance(container, InputContainer)
    begun = container.format.name not in _STREAM_FORMATS
    for number, packet in enumerate(container.demux(stream)):
        begun |= packet.is_keyframe
        if packet.is_corrupt and begun:
            raise VideoError(path, f"packet {number} is cut off or damaged: copy or download the file again")
        check_time(path)
        yield packet


def _held(path: Path, stream: av.VideoStream) -> list[av.Packet] | None:
    """All packets of a stream, or None when they exceed MEMORY or are too many."""
    packets, size = [], 0
    for packet in _packets(path, stream):
        packets.append(packet)
        size += packet.size
        if size > MEMORY or len(packets) > PACKETS:
            return None
    return packets


def _pictures(path: Path, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
    """Decode packets, in their order. Like FFmpeg, go over what leads into a stream that was cut anywhere."""
    barren, begun = 0, False
    for packet in packets:
        check_time(path)
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            if begun or packet.is_keyframe or packet.stream.container.format.name not in _STREAM_FORMATS:
                raise
            frames = []
        begun |= bool(frames)
        barren = 0 if frames else barren + 1
        if barren > PATIENCE:
            raise VideoError(path, f"{PATIENCE} packets in a row give no frame: re-encode it or leave it out")
        for frame in frames:
            if frame.is_corrupt:
                raise VideoError(path, f"the frame at {frame.time} s is damaged: replace, re-encode or leave it out")
            yield frame


def _walk(path: Path) -> Iterator[av.VideoFrame]:
    """Every frame of a file, holding nothing."""
    with open_stream(path) as stream:
        yield from _pictures(path, _packets(path, stream))


def _plan(stream: av.VideoStream, packets: list[av.Packet]) -> Plan | None:
    """The plan of a stream, or None where only decoding from the start is sure to be right."""
    context, packets = stream.codec_context, packets[:-1]
    peek = peek_for(context.name, context.extradata)
    if peek is None or not packets or stream.container.format.name not in _PLANNED_FORMATS:
        return None
    # Discarded packets belong to an edit list; a packet may also bring a new header.
    if any(packet.is_discard or packet.has_sidedata("new_extradata") for packet in packets):
        return None
    decoding = [packet.dts for packet in packets if packet.dts is not None]
    if any(later <= earlier for earlier, later in pairwise(decoding)):
        return None
    pictures: list[Picture | None] = []
    for packet in packets:
        picture = peek(memoryview(packet))
        pictures.append(picture and picture._replace(fresh=picture.fresh and packet.is_keyframe))
    found = plan([packet.pts for packet in packets], pictures)
    if found is None:
        return None
    # A decoder that expects less reordering than there is drops frames while it learns; one that expects some where
    # the time stamps show none probably has the right picture of a file whose time stamps are not those of display.
    expected = context.reorder_depth
    return None if found.delay > expected or (expected and not found.delay) else found


def _turns(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then mirror left-right, then mirror top-bottom) that bring a stored frame upright.

    The display matrix says x' = a x + c y, y' = b x + d y; angles between quarter turns go to the nearest one.
    """
    sides: Mapping[Any, Any] = frame.side_data
    if Type.DISPLAYMATRIX not in sides:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(sides[Type.DISPLAYMATRIX]), dtype=np.int32)[:5].tolist()
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)


def _upright(frame: av.VideoFrame, reformatter: VideoReformatter) -> Pixels:
    """``(h w c)`` RGB, turned and mirrored as the display matrix says."""
    pixels = np.asarray(reformatter.reformat(frame, format="rgb24").to_ndarray(), dtype=np.uint8)
    transpose, across, down = _turns(frame)
    if transpose:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1])


def _stacked(path: Path, pixels: dict[int, Pixels], indices: npt.NDArray[np.int64]) -> Pixels:
    shapes = {image.shape for image in pixels.values()}
    if len(shapes) > 1:
        raise VideoError(path, f"its frames change size, {sorted(shapes)}: re-encode it to one size")
    return np.stack([pixels[index] for index in indices.tolist()])


def _pick(path: Path, shown: Iterable[av.VideoFrame], indices: npt.NDArray[np.int64]) -> Pixels:
    """``(t h w c)``: frames by their number among all that are shown."""
    reformatter, wanted, number = VideoReformatter(), set(indices.tolist()), -1
    pixels = {}
    for number, frame in enumerate(islice(shown, int(indices.max()) + 1)):
        if number in wanted:
            pixels[number] = _upright(frame, reformatter)
    if number < indices.max():
        raise VideoError(path, f"frame {indices.max()} was asked for, but only {number + 1} decode: probe it first")
    return _stacked(path, pixels, indices)


def _pick_planned(path: Path, packets: list[av.Packet], found: Plan, indices: npt.NDArray[np.int64]) -> Pixels | None:
    """``(t h w c)`` by the plan; None when a wanted frame did not come out, or the decoder had another order."""
    context, reformatter = packets[0].stream.codec_context, VideoReformatter()
    frame_at = {int(found.times[found.order[index]]): index for index in indices.tolist()}
    pixels = {}
    for run in found.runs(indices):
        before = None
        for frame in _pictures(path, [packets[number] for number in run] + packets[-1:]):
            if frame.pts is None or (before is not None and frame.pts <= before):
                return None
            before = frame.pts
            if frame.pts in frame_at:
                pixels[frame_at[frame.pts]] = _upright(frame, reformatter)
        context.flush_buffers()
        context.reorder_depth = max(context.reorder_depth, found.delay)
    return _stacked(path, pixels, indices) if len(pixels) == len(frame_at) else None


def _count(shown: Iterable[av.VideoFrame]) -> tuple[int, list[av.VideoFrame]]:
    """How many frames there are, and all of them while they fit into MEMORY (else none)."""
    kept: list[av.VideoFrame] = []
    number, size = 0, 0
    for frame in shown:
        number += 1
        size += sum(plane.buffer_size for plane in frame.planes)
        if size <= MEMORY:
            kept.append(frame)
        else:
            kept.clear()
    return number, kept


def _fps(stream: av.VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or 0)


def read(path: Path, choose: Choose, frames: int | None, planned: bool) -> Pixels:
    """Read the frames that ``choose`` wants.

    Args:
        path: the file.
        choose: from the number of frames and the frames per second to the indices.
        frames: that number where it is known already, or any number above the indices when ``choose`` does not read
            it; None: find out.
        planned: decode only what is needed, where that is safe; False: always decode from the start.

    Returns:
        ``(t h w c)`` uint8 RGB, upright.

    Raises:
        VideoError: see :mod:`episodes.video`.
    """
    with open_stream(path) as stream:
        fps, packets = _fps(stream), _held(path, stream)
        found = _plan(stream, packets) if planned and packets else None
        if packets and found is not None:
            indices = checked_indices(path, choose, len(found), fps)
            pixels = _pick_planned(path, packets, found, indices)
            return pixels if pixels is not None else _pick(path, _walk(path), indices)
        shown = _walk(path) if packets is None else _pictures(path, packets)
        if frames is not None:
            return _pick(path, shown, checked_indices(path, choose, frames, fps))
        number, kept = _count(shown)
        if not number:
            raise VideoError(path, NO_FRAMES)
        return _pick(path, kept or _walk(path), checked_indices(path, choose, number, fps))


def inspect(path: Path, planned: bool = True) -> tuple[VideoInfo, bool]:
    """What a file holds, and whether it is plain.

    The packets are counted where each plainly holds one shown picture, and decoded where not. The first frame is
    decoded in any case: only it tells which way is up. A file is plain when it can be entered at every packet that
    calls itself a key frame, and its frames are 8-bit 4:2:0, progressive and not mirrored.

    Raises:
        VideoError: see :mod:`episodes.video`.
    """
    with open_stream(path) as stream:
        packets = _held(path, stream)
        found = _plan(stream, packets) if planned and packets else None
        shown = _walk(path) if packets is None else _pictures(path, packets)
        first = next(shown, None)
        if first is None:
            raise VideoError(path, NO_FRAMES)
        height, width, _ = _upright(first, VideoReformatter()).shape
        plain = False
        if packets and found is not None:
            number = len(found)
            keys = sum(packet.is_keyframe for packet in packets[:-1])
            usual = first.format.name in ("yuv420p", "yuvj420p") and not first.interlaced_frame
            plain = usual and keys == len(found.starts) and sum(_turns(first)) % 2 == 0
        else:
            number = 1 + sum(1 for _ in shown)
        note = note_file(stream, first, number, count_unshown(packets), (height, width))
        return VideoInfo(number, _fps(stream), height, width, note), plain
