"""From the support clips of an episode to one prototype per class."""

from fsar.prototypes.mean import shot_groups, shot_mean
from fsar.prototypes.tpcm import TPCM

__all__ = ["TPCM", "shot_groups", "shot_mean"]
