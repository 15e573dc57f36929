"""What one compressed picture says of itself: the few header bits that the planner needs, read without decoding.

Sources: ITU-T H.264 section 7.3.1 and H.265 section 7.3.1.2 (NAL unit headers), RFC 6386 section 9.1 (VP8 frame tag),
the VP9 bitstream specification section 6.2 (uncompressed header) and annex B (superframes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from episodes.video.packets.sps import Sps, is_field, read_sps, sets_of


class Picture(NamedTuple):
    """One packet that holds exactly one picture to be shown."""

    fresh: bool
    """Nothing before it is needed from here on, in decoding order."""
    unused: bool
    """No other picture refers to it."""
    parameters: bytes
    """The parameter sets that travel with it."""


Peek = Callable[[memoryview], "Picture | None"]
"""A packet -> what it says, or None when it is not plainly one shown picture."""


def peek_for(codec: str, extradata: bytes | None) -> Peek | None:
    """The function that reads packets of this codec, or None when there is none and the stream is not to be planned.

    Args:
        codec: FFmpeg's name of the decoder or of the codec.
        extradata: the stream's header; H.264 and HEVC must be length-prefixed (``avcC``, ``hvcC``), not start codes.
    """
    if codec == "h264" and extradata and extradata[0] == 1 and len(extradata) > 6:
        width = (extradata[4] & 3) + 1
        sets = {read_sps(unit) for unit in sets_of(extradata)}
        known = {one for one in sets if one is not None}
        if len(known) < len(sets) or (len(known) > 1 and any(one.fields for one in known)):
            return None
        return lambda packet: _h264(packet, width, known)
    if codec == "hevc" and extradata and extradata[0] == 1 and len(extradata) > 22:
        width = (extradata[21] & 3) + 1
        return lambda packet: _hevc(packet, width)
    return {"vp8": _vp8, "vp9": _vp9}.get(codec)


def _units(packet: memoryview, width: int) -> Iterator[memoryview]:
    """The NAL units of a length-prefixed packet. A unit of no bytes stands for one that is empty or does not fit."""
    at = 0
    while at < len(packet):
        start = at + width
        at = start + int.from_bytes(packet[at:start], "big")
        yield packet[start:at] if at <= len(packet) else packet[:0]


def _h264(packet: memoryview, width: int, known: set[Sps]) -> Picture | None:
    pictures, fresh, unused, parameters = 0, True, True, b""
    for unit in _units(packet, width):
        if not unit:
            return None
        kind = unit[0] & 31
        if kind in (1, 5):
            if len(unit) < 3 or any(is_field(bytes(unit[:32]), one) for one in known):
                return None
            pictures += unit[1] >> 7  # first_mb_in_slice = 0: two of these are two fields
            fresh &= kind == 5
            unused &= not unit[0] >> 5 & 3
        elif kind in (2, 3, 4) or (kind == 7 and not _harmless(read_sps(bytes(unit)), known)):  # data partitioning
            return None
        elif kind in (7, 8, 13, 15):
            parameters += bytes(unit)
    return Picture(fresh, unused, parameters) if pictures == 1 else None


def _harmless(sps: Sps | None, known: set[Sps]) -> bool:
    """True for a parameter set inside the stream that is understood, and brings no fields that were not known of."""
    return sps is not None and (sps in known or not (sps.fields or any(one.fields for one in known)))


def _hevc(packet: memoryview, width: int) -> Picture | None:
    pictures, fresh, parameters = 0, True, b""
    for unit in _units(packet, width):
        if len(unit) < 2 or unit[0] & 1 or unit[1] >> 3:  # a second layer
            return None
        kind = unit[0] >> 1 & 63
        if kind < 32:
            if len(unit) < 3:
                return None
            pictures += unit[2] >> 7  # first_slice_segment_in_pic_flag
            fresh &= kind in (19, 20)  # IDR; a CRA picture may be followed by pictures that refer across it
        elif kind in (32, 33, 34):
            parameters += bytes(unit)
    # A sub-layer non-reference picture may serve a higher temporal layer, so none is called unused.
    return Picture(fresh, False, parameters) if pictures == 1 else None


def _vp8(packet: memoryview) -> Picture | None:
    shown = len(packet) > 2 and packet[0] & 16
    return Picture(not packet[0] & 1, False, b"") if shown else None


def _vp9(packet: memoryview) -> Picture | None:
    if len(packet) < 2 or packet[0] >> 6 != 2 or packet[0] & 0x30 == 0x30:
        return None
    superframe = packet[-1] & 0xE0 == 0xC0  # hidden pictures and the shown one after them
    again = bool(packet[0] & 8)  # show_existing_frame
    if not (superframe or again or packet[0] & 2):
        return None
    return Picture(not again and not packet[0] & 4 and not superframe, False, b"")
