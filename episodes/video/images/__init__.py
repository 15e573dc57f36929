"""A folder of numbered images as a video, on disk or in a zip file: its files, and their order by their names."""

from pathlib import Path

from episodes.video.images import archive
from episodes.video.images.folder import SUFFIXES, image_files, inspect, read, refuse_image, verify

__all__ = ["SUFFIXES", "archive", "image_files", "inspect", "is_folder", "read", "refuse_image", "verify"]


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, on disk or inside a zip file."""
    return path.is_dir() or archive.is_inside(path)
