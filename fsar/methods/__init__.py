"""Few-shot methods, one paper one file."""

from fsar.methods.action_clip import ActionCLIP
from fsar.methods.clip_cpm2c import ClipCPM2C
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
from fsar.methods.clip_mei import ClipMEI
from fsar.methods.clip_spm import ClipSPM
from fsar.methods.d2st import D2ST
from fsar.methods.emp_net import EMPNet
from fsar.methods.hyrsm import HyRSM
from fsar.methods.hyrsm_plus_plus import HyRSMPlusPlus
from fsar.methods.ma_clip import MAClip
from fsar.methods.prototype import Prototype
from fsar.methods.strm import STRM
from fsar.methods.ta2n import TA2N
from fsar.methods.team import TEAM
from fsar.methods.trx import TRX
from fsar.methods.ts_fsar import TSFSAR

__all__ = [
    "APE",
    "APET",
    "D2ST",
    "STRM",
    "TA2N",
    "TEAM",
    "TRX",
    "TSFSAR",
    "ActionCLIP",
    "Clip4Clip",
    "ClipCPM2C",
    "ClipFSAR",
    "ClipMEI",
    "ClipSPM",
    "CoCoOp",
    "CoOp",
    "EMPNet",
    "HyRSM",
    "HyRSMPlusPlus",
    "LinearProbe",
    "MAClip",
    "NearestNeighbour",
    "Prototype",
    "SimpleShot",
    "TipAdapter",
    "TipAdapterF",
    "TipAdapterViews",
    "ZeroShot",
]
