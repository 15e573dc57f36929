"""A packed store: frames of many videos, uncompressed, in one file that is mapped into memory, and its index."""

from episodes.video.packed.store import (
    ANEW,
    FRAMES,
    INDEX,
    SUFFIX,
    PackWriter,
    clips,
    inspect,
    is_packed,
    place_of,
    read,
    verify,
)

__all__ = [
    "ANEW",
    "FRAMES",
    "INDEX",
    "SUFFIX",
    "PackWriter",
    "clips",
    "inspect",
    "is_packed",
    "place_of",
    "read",
    "verify",
]
