"""Class paths that earlier versions wrote into configurations, and where the classes are now.

A configuration outlives the layout of the package: a run's ``config.yaml``, a published run, a file of one's own. The
table is looked up where any of them is read, and for the words of a command line; nowhere else is an old path known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOVED: Mapping[str, Sequence[str]] = {
    "episodes.regions > episodes.annotations.regions": ("RegionPrompt",),
    "fsar.adapted > fsar.encoders": ("Adapted",),
    "fsar.alignment.cross_tuple > fsar.alignment": ("TRX",),
    "fsar.alignment.pattern_tokens > fsar.alignment": ("PatternTokens",),
    "fsar.alignment.shots > fsar.alignment": ("CrossTransformer", "EachShot"),
    "fsar.beside > fsar.encoders": ("Beside",),
    "fsar.callbacks.checkpoints > fsar.training": ("BestCheckpoint", "LastCheckpoint", "ResumePoint"),
    "fsar.callbacks.live > fsar.training": ("EpisodeProgress", "Pictures"),
    "fsar.clip > fsar.encoders": ("ClipEncoder", "FrameEncoder", "ImageEncoder", "TextEncoder"),
    "fsar.clip.encoder > fsar.encoders": ("ClipEncoder",),
    "fsar.clip.frame_encoder > fsar.encoders": ("FrameEncoder",),
    "fsar.clip.image_encoder > fsar.encoders": ("ImageEncoder",),
    "fsar.clip.text > fsar.encoders": ("TextEncoder",),
    "fsar.learner > fsar.training": ("Learner",),
    "fsar.methods.clip_cpm2c > fsar.methods": ("ClipCPM2C",),
    "fsar.methods.clip_mei > fsar.methods": ("ClipMEI",),
    "fsar.methods.clip_spm > fsar.methods": ("ClipSPM",),
    "fsar.metrics > fsar.evaluation": ("Accuracy", "EpisodeAccuracy"),
    "fsar.prototypes > fsar.temporal": ("TPCM",),
    "fsar.prototypes.tpcm > fsar.temporal": ("TPCM",),
    "fsar.schedule > fsar.training": ("WarmupSteps",),
    "fsar.training.denoisers > fsar.training.diva": ("DiffusionModel", "StableDiffusion"),
    "fsar.training.diffusion > fsar.training": ("DiffusionFeedback",),
}
"""``old module > new module``, and the classes that went from one to the other."""

ALIASES = {
    f"{old}.{name}": f"{new}.{name}"
    for modules, names in MOVED.items()
    for old, new in [modules.split(" > ")]
    for name in names
}
"""``{old class path: new class path}``."""


def rename_classes(content: Any) -> Any:
    """Plain data with new class paths for old ones, wherever a text is one."""
    if isinstance(content, dict):
        return {key: rename_classes(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rename_classes(value) for value in content]
    return ALIASES.get(content, content) if isinstance(content, str) else content


def rename_words(args: Sequence[str]) -> list[str]:
    """The words of a command line with new class paths, given as ``--key PATH`` or ``--key=PATH``."""
    parts = (word.rpartition("=") for word in args)
    return [f"{option}{equals}{ALIASES.get(value, value)}" for option, equals, value in parts]
