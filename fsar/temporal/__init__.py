"""Modules that let the frames of one clip see each other."""

from fsar.temporal.frame_motion import FrameMotion, ScaledMotion
from fsar.temporal.hybrid_relation import HybridRelation, ScaledPositions
from fsar.temporal.modulation import Gates, Modulation
from fsar.temporal.motion import MotionBranch, MotionDecoder
from fsar.temporal.sequence import SequenceLSTM, SequenceTransformer
from fsar.temporal.tpcm import TPCM
from fsar.temporal.transformer import TemporalTransformer
from fsar.temporal.video_heads import ClassTokenTransformer, ShiftConvolution

__all__ = [
    "TPCM",
    "ClassTokenTransformer",
    "FrameMotion",
    "Gates",
    "HybridRelation",
    "Modulation",
    "MotionBranch",
    "MotionDecoder",
    "ScaledMotion",
    "ScaledPositions",
    "SequenceLSTM",
    "SequenceTransformer",
    "ShiftConvolution",
    "TemporalTransformer",
]
