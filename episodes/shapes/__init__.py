"""The embedded benchmark: rendered videos of moving shapes, written as real .mp4 files."""

from episodes.shapes.source import Shapes

__all__ = ["Shapes"]
