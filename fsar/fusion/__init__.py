"""What stands between an encoder and the matching: words told to frames, patches gathered, views that learn of each
other. A part that no method is handed is imported by none."""

from fsar.fusion.base import Fusion
from fsar.fusion.glip import AlignmentMap, GatedCrossAttention
from fsar.fusion.group_vit import TokenGrouping
from fsar.fusion.inter_view import InterView
from fsar.fusion.multi_scale import MultiScale
from fsar.fusion.regions import RegionAttention

__all__ = [
    "AlignmentMap",
    "Fusion",
    "GatedCrossAttention",
    "InterView",
    "MultiScale",
    "RegionAttention",
    "TokenGrouping",
]
