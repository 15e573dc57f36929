"""Is an H.264 picture a single field? Then two packets can be one frame, and packets do not tell the frames.

Source: ITU-T H.264 sections 7.3.2.1.1 (sequence parameter set), 7.3.2.1.1.1 (scaling lists) and 7.3.3 (slice header).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# Profiles whose parameter sets say more about colour and quantisation.
_HIGH = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}


class _Bits:
    """The bits of a NAL unit, from left to right; a 3 after two zero bytes is there to prevent start codes."""

    def __init__(self, unit: bytes) -> None:
        clean = unit.replace(b"\0\0\3", b"\0\0")
        self.value, self.left = int.from_bytes(clean, "big"), 8 * len(clean)

    def take(self, count: int = 1) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("a parameter set ends too early")
        return self.value >> self.left & ((1 << count) - 1)

    def golomb(self) -> int:
        zeros = 0
        while not self.take():
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class Sps(NamedTuple):
    """What a sequence parameter set says of the slices that follow it."""

    fields: bool
    """A picture may be a single field."""
    number: int
    """Bits of a frame's number."""
    planes: bool
    """Each slice belongs to one of three colour planes."""


def read_sps(unit: bytes) -> Sps | None:
    """A sequence parameter set, its header byte included; None when it cannot be understood."""
    try:
        bits = _Bits(unit[1:])
        profile = bits.take(8)
        bits.take(16)
        bits.golomb()
        planes = profile in _HIGH and _pass_colour(bits)
        number = bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.take()
            for _ in range(2):
                bits.golomb()
            for _ in range(bits.golomb()):
                bits.golomb()
        bits.golomb()
        bits.take()
        bits.golomb()
        bits.golomb()
        return Sps(not bits.take(), number, planes)
    except ValueError:
        return None


def is_field(unit: bytes, sps: Sps) -> bool:
    """True for a slice, its header byte included, of a single field; also when it cannot be understood."""
    if not sps.fields:
        return False
    try:
        bits = _Bits(unit[1:32])
        for _ in range(3):
            bits.golomb()
        bits.take(2 * sps.planes + sps.number)
        return bool(bits.take())
    except ValueError:
        return True


def _pass_colour(bits: _Bits) -> bool:
    """True where each colour plane has slices of its own."""
    planes = False
    chroma = bits.golomb()
    if chroma == 3:
        planes = bool(bits.take())
    bits.golomb()
    bits.golomb()
    bits.take()
    if bits.take():
        for number in range(12 if chroma == 3 else 8):
            if bits.take():
                _pass_scaling_list(bits, 16 if number < 6 else 64)
    return planes


def _pass_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def sets_of(avcc: bytes) -> Iterator[bytes]:
    """The sequence parameter sets of an ``avcC`` header (ISO/IEC 14496-15 section 5.3.3.1)."""
    at = 6
    for _ in range(avcc[5] & 31):
        size = int.from_bytes(avcc[at : at + 2], "big")
        yield avcc[at + 2 : at + 2 + size]
        at += 2 + size
