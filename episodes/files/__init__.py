"""Files on disk that several processes write: whole or not there, and one writer of a folder at a time."""

from episodes.files.atomic import explain_start, is_part, write_atomically

__all__ = ["explain_start", "is_part", "write_atomically"]
