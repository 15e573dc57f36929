"""The index of a packed store: where each clip lies, and checksums of its frames and of the index itself."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from episodes.video.info import Pixels

LINE = ', "line": '


class Place(NamedTuple):
    """Where a clip begins in ``frames.bin``, its shape ``(t h w c)``, its frames per second, and the crc32 of each
    frame, 4 bytes each; none in a store that was made before there were checksums."""

    offset: int
    shape: tuple[int, int, int, int]
    fps: float
    sums: bytes = b""

    @property
    def end(self) -> int:
        return self.offset + int(np.prod(self.shape, dtype=np.int64))

    def cut(self, frames: NDArray[np.uint8]) -> Pixels:
        """The clip ``(t h w c)`` out of all frames."""
        return frames[self.offset : self.end].reshape(self.shape)

    def compare(self, pixels: Pixels, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of some frames ``(k h w c)`` of the clip, with their numbers ``(k)``, is what was written."""
        found, written = (np.frombuffer(sums, ">u4") for sums in (sums_of(pixels), self.sums))
        return found == written[indices]


def sums_of(pixels: Pixels) -> bytes:
    """crc32 of every frame of ``(t h w c)``, 4 bytes each."""
    return b"".join(zlib.crc32(np.ascontiguousarray(frame).data).to_bytes(4, "big") for frame in pixels)


def line_of(clip: str, place: Place) -> str:
    """A clip's line."""
    facts = {"clip": clip, "offset": place.offset, "shape": place.shape, "fps": place.fps, "crc32": place.sums.hex()}
    text = json.dumps(facts)[:-1]
    return f"{text}{LINE}{zlib.crc32(text.encode())}}}\n"


def read_index(path: Path, skip_damaged: bool = False) -> dict[str, Place]:
    """The places of all clips; a last line that was cut off is passed over.

    Args:
        path: of the index.
        skip_damaged: pass over damaged lines as well.

    Raises:
        ValueError: when a line is not what was written; it tells its number.
    """
    places: dict[str, Place] = {}
    *lines, rest = path.read_bytes().split(b"\n")
    if b"}" in rest[-2:]:  # a whole line, whose end was changed or is missing
        lines.append(rest)
    for number, line in enumerate(lines, 1):
        try:
            clip, place = _parse(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if skip_damaged:
                continue
            raise ValueError(f"line {number} of {path.name} is not what was written") from error
        places.pop(clip, None)
        places[clip] = place
    return places


def _parse(line: bytes) -> tuple[str, Place]:
    entry = json.loads(line)
    t, h, w, c = entry["shape"]
    place = Place(entry["offset"], (t, h, w, c), entry["fps"], bytes.fromhex(entry.get("crc32", "")))
    known = {"clip", "offset", "shape", "fps"}
    if entry.keys() != known:  # what was written before there were checksums has these alone
        if entry.keys() != {*known, "crc32", "line"}:
            raise ValueError("keys")
        if zlib.crc32(line[: line.rindex(LINE.encode())]) != entry["line"] or len(place.sums) != 4 * t:
            raise ValueError("checksum")
    if min(t, h, w, place.offset) < 0 or c != 3 or not isinstance(entry["clip"], str):
        raise ValueError("shape")
    return entry["clip"], place
