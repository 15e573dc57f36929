"""A look at a file from outside, before any decoder sees it: what is it, and is all of it there?"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from episodes.video.info import VideoError
from episodes.video.limits import check_pixels

_AGAIN = "copy or download it again"
BOXES = frozenset(b"ftyp moov mdat free skip wide moof uuid mfra sidx pnot udta styp".split())
"""The outermost parts of an mp4 or mov file."""
_RIFF_SLACK = 64
HEAD = 2**16
"""Bytes that are looked at for what the file is; FFmpeg, too, looks no further where they begin like a container."""
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
)
PICTURE_BRANDS = frozenset((b"avif", b"heic", b"heim", b"heis", b"heix", b"mif1", b"crx "))
"""Of files with such parts that hold pictures."""
_LISTS = (b"dash:profile", b"<compositionplaylist")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def check_file(path: Path) -> None:
    """Refuse what no decoder needs to be asked about.

    Raises:
        VideoError: for a file that is missing, empty, a Git LFS pointer, a picture or text under a video's name, or
            shorter than its own outline says.
    """
    try:
        if not path.is_file() and path.exists():
            raise VideoError(path, "neither a file nor a folder of images")
        size = path.stat().st_size
        if not size:
            raise VideoError(path, f"the file is empty (0 bytes): {_AGAIN}")
        with path.open("rb") as file:
            if file.read(40).startswith(b"version https://git-lfs.github.com"):
                raise VideoError(path, "a Git LFS pointer, not the video itself: run `git lfs pull` where it came from")
            file.seek(0)
            motion_jpeg = path.suffix.lower() in {".mjpeg", ".mjpg"}  # begins like one JPEG
            head = file.read(HEAD)
            if not motion_jpeg and (kind := other_kind(head)):
                raise VideoError(path, f"not a video, whatever its name says, but {kind}")
            if head.startswith(b"GIF8") and len(head) > 10:  # its decoder alone knows the size, and takes the memory
                check_pixels(path, *struct.unpack("<HH", head[6:10]))
            for name, end in _declared(file):
                if end > size:
                    raise VideoError(
                        path, f"truncated: its {name} ends at byte {end:,} and the file at {size:,}; {_AGAIN}"
                    )
    except FileNotFoundError as error:
        raise VideoError(path, "no such file or folder: check the path, and the data set's root") from error
    except OSError as error:
        raise VideoError(path, f"cannot be opened: {error.strerror or error}") from error


def other_kind(head: bytes) -> str:
    """What a file is that begins so, where that is plainly no video; else "".

    FFmpeg goes by content, not by name. Pictures it serves as videos of one frame, and lists of files, whatever they
    are hidden in, make it open what they name.
    """
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if (picture := next((name for start, name in _PICTURES if head.startswith(start)), "")) or (
        brand in PICTURE_BRANDS or head[8:12] == b"WEBP" or (head[:2] == b"BM" and head[6:10] == bytes(4))
    ):
        return f"a picture{f' ({picture})' if picture else ''}: give the video, or the folder that holds all its frames"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "a sound: give the video"
    if any(word in head.lower() for word in _LISTS):
        return "a list of other files (DASH, IMF): give the video itself"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (not head.startswith(b"YUV4MPEG2") and _is_text(head[:512])):
        return "a text, perhaps a list of files or a page that says why the download failed: give the video itself"
    return ""


def _is_text(head: bytes) -> bool:
    """True for bytes without control characters, most of them ASCII."""
    controls = sum(byte < 32 and byte not in b"\t\n\f\r" for byte in head)
    return not controls and sum(byte < 128 for byte in head) > 0.7 * len(head)


def _declared(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """(name, byte where it says that it ends) of the outermost parts of an mp4/mov, Matroska/WebM or AVI file."""
    file.seek(0)
    head = file.read(12)
    if head[4:8] in BOXES:
        yield from _boxes(file)
    elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
        # Some writers get it wrong by a few bytes, which no decoder minds: the index stands at the end.
        yield "RIFF list", 8 + struct.unpack("<I", head[4:8])[0] - _RIFF_SLACK
    elif head[:4] == _EBML:
        file.seek(4)
        file.seek(_ebml_size(file) or 0, 1)
        if file.read(4) == _SEGMENT:
            size = _ebml_size(file)
            if size is not None:
                yield "segment", file.tell() + size


def _boxes(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """The boxes of an ISO base media file, until its end or something that is not a box."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8 or head[4:8] not in BOXES:
            return
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # 0: to the end of the file
            return
        start += size
        yield f"'{head[4:8].decode()}' box", start


def _ebml_size(file: BinaryIO) -> int | None:
    """The variable-length size that stands at the file's position; None for "unknown", as live streams write it."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1), "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value
