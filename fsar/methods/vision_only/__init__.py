"""Methods that read no class names: image networks and what compares clips. One paper, one file."""

from fsar.methods.vision_only.hyrsm import HyRSM
from fsar.methods.vision_only.hyrsm_plus_plus import HyRSMPlusPlus
from fsar.methods.vision_only.molo import MoLo
from fsar.methods.vision_only.strm import STRM
from fsar.methods.vision_only.ta2n import TA2N
from fsar.methods.vision_only.team import TEAM
from fsar.methods.vision_only.trx import TRX

__all__ = ["STRM", "TA2N", "TEAM", "TRX", "HyRSM", "HyRSMPlusPlus", "MoLo"]
