"""What is to be said of a file that is read, but not as everybody would expect: one sentence for each."""

from __future__ import annotations

from collections.abc import Iterable

import av

from episodes.video.opening import video_streams
from episodes.words import pluralise

_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of ITU-T H.273, table 3."""


def note_file(stream: av.VideoStream, first: av.VideoFrame, frames: int, unshown: int, upright: tuple[int, int]) -> str:
    """All notes on a file; "" for an ordinary one.

    Args:
        stream: that is read.
        first: frame of it.
        frames: how many there are.
        unshown: packets that the file itself marks as not to be shown.
        upright: height and width of the frames that are returned.
    """
    return "; ".join(
        filter(
            None, [_streams(stream), _pixels(stream, first, upright), _light(first), _count(stream, frames, unshown)]
        )
    )


def _streams(stream: av.VideoStream) -> str:
    others = [other for other in video_streams(stream.container) if other.index != stream.index]
    if not others:
        return ""
    listed = ", ".join(f"stream {other.index} ({other.width} x {other.height})" for other in others)
    return f"of its video streams, stream {stream.index} ({stream.width} x {stream.height}) is read, not {listed}"


def _pixels(stream: av.VideoStream, first: av.VideoFrame, upright: tuple[int, int]) -> str:
    """Readers of published code return frames as they are stored, and so do we: numbers stay comparable."""
    aspect, (height, width) = stream.sample_aspect_ratio, upright
    if not aspect or aspect == 1:
        return ""
    if (first.width, first.height) == (width, height):
        shown = f"{round(width * aspect)} x {height}"
    else:  # turned by a quarter
        shown = f"{width} x {round(height * aspect)}"
    return (
        f"its pixels are not square ({aspect.numerator}:{aspect.denominator}): shown as {shown}, read as it is stored"
    )


def _light(first: av.VideoFrame) -> str:
    name = _TRANSFERS.get(int(first.color_trc))
    return f"HDR ({name}) is read as it is coded, not mapped to the usual range" if name else ""


def _count(stream: av.VideoStream, frames: int, unshown: int) -> str:
    claimed = stream.frames
    if not claimed or claimed == frames:
        return ""
    return (
        f"its header says {pluralise(claimed, 'frame')}, {frames} {'stand in its edit list' if unshown else 'decode'}"
    )


def count_unshown(packets: Iterable[av.Packet] | None) -> int:
    """Packets that an edit list leaves out."""
    return sum(packet.is_discard for packet in packets or ())
