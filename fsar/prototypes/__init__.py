"""From the support clips of an episode to one prototype per class."""

from fsar.prototypes.mean import shot_groups, shot_mean

__all__ = ["shot_groups", "shot_mean"]
