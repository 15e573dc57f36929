"""Files on disk that several processes write: whole or not there, and one writer of a folder at a time."""

from episodes.files.atomic import is_part, write_atomically

__all__ = ["is_part", "write_atomically"]
