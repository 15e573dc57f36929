"""Few-shot methods, one paper one file.

A method takes an episode, or a batch of episodes, and gives scores; it is told apart from others by its parts alone:

>>> from episodes.episode import Episode
>>> from fsar.alignment import OTAM
>>> from fsar.encoders import ClipEncoder
>>> encoder = ClipEncoder("fsar-tiny", "shapes")
>>> clips = torch.zeros(3, 8, 3, 64, 64, dtype=torch.uint8)  # two support clips and a query
>>> labels, classes = torch.tensor([0, 1]), torch.tensor([0, 1])
>>> episode = Episode(clips[:2], clips[2:], labels, labels[:1], classes, ("sit", "jump"), torch.tensor(0))
>>> for method in (Prototype(encoder, OTAM()), ClipFSAR(encoder, OTAM()), ZeroShot(encoder), TipAdapter(encoder)):
...     print(type(method).__name__, tuple(method.eval()(episode).logits.shape))
Prototype (1, 2)
ClipFSAR (1, 2)
ZeroShot (1, 2)
TipAdapter (1, 2)
"""

from fsar.methods.action_clip import ActionCLIP
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
from fsar.methods.clip_motion.clip_cpm2c import ClipCPM2C
from fsar.methods.clip_motion.clip_mei import ClipMEI
from fsar.methods.clip_motion.clip_spm import ClipSPM
from fsar.methods.d2st import D2ST
from fsar.methods.emp_net import EMPNet
from fsar.methods.ma_clip import MAClip
from fsar.methods.prototype import Prototype
from fsar.methods.several_names import SeveralNames
from fsar.methods.sight_and_sound import SightAndSound
from fsar.methods.task_adapter_pp import TaskAdapterPlusPlus
from fsar.methods.ts_fsar import TSFSAR
from fsar.methods.vision_only import STRM, TA2N, TEAM, TRX, HyRSM, HyRSMPlusPlus, MoLo

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
    "MoLo",
    "NearestNeighbour",
    "Prototype",
    "SeveralNames",
    "SightAndSound",
    "SimpleShot",
    "TaskAdapterPlusPlus",
    "TipAdapter",
    "TipAdapterF",
    "TipAdapterViews",
    "ZeroShot",
]
