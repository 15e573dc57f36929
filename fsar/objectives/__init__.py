"""Losses that papers share."""

from fsar.objectives.contrast import video_text_contrast
from fsar.objectives.multi_positive import both_directions, multi_positive_kl

__all__ = ["both_directions", "multi_positive_kl", "video_text_contrast"]
