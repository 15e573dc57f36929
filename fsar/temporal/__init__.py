"""Modules that let the frames of one clip see each other."""

from fsar.temporal.transformer import TemporalTransformer

__all__ = ["TemporalTransformer"]
