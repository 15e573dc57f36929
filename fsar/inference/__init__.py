"""A method asked about clips: the predictor, its answers, and the bound below which a clip is none of the classes.

>>> threshold = Threshold({"sit": -2.0, "jump": -0.5}, keep=0.9, left_out=9, refused=9, foreign=10)
>>> ranking = rank_classes(("sit", "jump"), torch.tensor([0.25, 0.75]))
>>> answer = Answer("query.mp4", ranking, {"sit": -3.0, "jump": -1.0}, threshold)
>>> print(answer)
query.mp4: jump 0.75, sit 0.25 (unlike all)
>>> answer.similarity, answer.bound, threshold.promised
(-1.0, -0.5, 0.9)
"""

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
