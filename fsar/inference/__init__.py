"""A method asked about clips: the predictor, its answers, and the bound below which a clip is none of the classes."""

from fsar.alignment.maps import FrameMap, alignment_maps
from fsar.inference.answer import Answer, Answers, rank_classes
from fsar.inference.predictor import Predictor, bare, load
from fsar.inference.threshold import Threshold, bound

__all__ = [
    "Answer",
    "Answers",
    "FrameMap",
    "Predictor",
    "Threshold",
    "alignment_maps",
    "bare",
    "bound",
    "load",
    "rank_classes",
]
