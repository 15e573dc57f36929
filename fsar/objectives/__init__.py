"""Losses that papers share."""

from fsar.objectives.contrast import video_text_contrast

__all__ = ["video_text_contrast"]
