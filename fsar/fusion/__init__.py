"""What stands between an encoder and the matching: words told to frames, patches gathered, views that learn of each
other. A part that no method is handed is imported by none."""

from fsar.fusion.glip import AlignmentMap, GatedCrossAttention
from fsar.fusion.group_vit import TokenGrouping
from fsar.fusion.inter_view import InterView

__all__ = ["AlignmentMap", "GatedCrossAttention", "InterView", "TokenGrouping"]
