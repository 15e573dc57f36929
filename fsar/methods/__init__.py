"""Few-shot methods, one paper one file."""

from fsar.methods.clip_family import (
    APE,
    APET,
    Clip4Clip,
    CoCoOp,
    CoOp,
    LinearProbe,
    NearestNeighbour,
    SimpleShot,
    TipAdapter,
    TipAdapterF,
    TipAdapterViews,
    ZeroShot,
)
from fsar.methods.clip_fsar import ClipFSAR
from fsar.methods.prototype import Prototype

__all__ = [
    "APE",
    "APET",
    "Clip4Clip",
    "ClipFSAR",
    "CoCoOp",
    "CoOp",
    "LinearProbe",
    "NearestNeighbour",
    "Prototype",
    "SimpleShot",
    "TipAdapter",
    "TipAdapterF",
    "TipAdapterViews",
    "ZeroShot",
]
