"""Losses that papers share."""

from fsar.objectives.multi_positive import both_directions, multi_positive_kl

__all__ = ["both_directions", "multi_positive_kl"]
