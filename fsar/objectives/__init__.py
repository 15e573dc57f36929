"""Losses that papers share, and objectives: losses that any method can be trained with beside its own.

A step is what one training step is about; every objective takes one and gives named numbers:

>>> from episodes.clips import Features
>>> from fsar.encoders import ClipEncoder
>>> features = Features(frames=torch.rand(4, 8, 64), sound=torch.rand(4, 2, 64))
>>> text = ClipEncoder("fsar-tiny", "shapes").text
>>> step = Step(features, torch.tensor([0, 0, 1, 2]), ("sit", "jump", "wave"), text, frozen=features)
>>> sorted(SymmetricContrast()(step))
['loss']
"""

from fsar.objectives.audio_clip import TrimodalContrast, trimodal_contrast
from fsar.objectives.base import Objective, Step
from fsar.objectives.clip import SymmetricContrast, symmetric_contrast
from fsar.objectives.dreamlip import SubCaptionGrouping, grouping_loss, monotone_path
from fsar.objectives.fff import Assignment, AssignmentRule, MultiPositiveSigmoid, multi_positive_sigmoid
from fsar.objectives.glip import WordMap
from fsar.objectives.glipv2 import WordRegionContrast, word_region_contrast
from fsar.objectives.multi_positive import both_directions, multi_positive_kl
from fsar.objectives.vild import Anchor, BackgroundText, anchor_distance

__all__ = [
    "Anchor",
    "Assignment",
    "AssignmentRule",
    "BackgroundText",
    "MultiPositiveSigmoid",
    "Objective",
    "Step",
    "SubCaptionGrouping",
    "SymmetricContrast",
    "TrimodalContrast",
    "WordMap",
    "WordRegionContrast",
    "anchor_distance",
    "both_directions",
    "grouping_loss",
    "monotone_path",
    "multi_positive_kl",
    "multi_positive_sigmoid",
    "symmetric_contrast",
    "trimodal_contrast",
    "word_region_contrast",
]
