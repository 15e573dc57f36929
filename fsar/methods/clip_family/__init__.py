"""CLIP's own few-shot family: what a new method has to beat. One paper, one file."""

from fsar.methods.clip_family.ape import APE, APET
from fsar.methods.clip_family.clip4clip import Clip4Clip
from fsar.methods.clip_family.coop import CoCoOp, CoOp
from fsar.methods.clip_family.linear_probe import LinearProbe
from fsar.methods.clip_family.nearest import NearestNeighbour, SimpleShot
from fsar.methods.clip_family.tip_adapter import TipAdapter, TipAdapterF, TipAdapterViews
from fsar.methods.clip_family.zero_shot import ZeroShot

__all__ = [
    "APE",
    "APET",
    "Clip4Clip",
    "CoCoOp",
    "CoOp",
    "LinearProbe",
    "NearestNeighbour",
    "SimpleShot",
    "TipAdapter",
    "TipAdapterF",
    "TipAdapterViews",
    "ZeroShot",
]
