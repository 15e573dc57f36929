"""A folder of numbered images as a video: its files, and their order by their names."""

from episodes.video.images.folder import SUFFIXES, image_files, inspect, read, refuse_image, verify

__all__ = ["SUFFIXES", "image_files", "inspect", "read", "refuse_image", "verify"]
