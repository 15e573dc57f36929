"""Temporal alignment: how alike are two clips, given the features of their frames?"""

from fsar.alignment.base import Alignment, CostAlignment
from fsar.alignment.costs import CosineCost, PairwiseCost, SquaredEuclideanCost
from fsar.alignment.covariance import AlphaDistance, alpha_covariance
from fsar.alignment.direct import (
    BiMHM,
    Chamfer,
    FrameMean,
    FrameToFrame,
    Hausdorff,
    MeanCost,
    MeanHausdorff,
    WeightedSum,
)
from fsar.alignment.dtw import DTW, SoftDTW, SoftDTWDivergence
from fsar.alignment.otam import OTAM
from fsar.alignment.per_query.cross_tuple import TRX
from fsar.alignment.per_query.pattern_tokens import PatternTokens
from fsar.alignment.per_query.shots import CrossTransformer, EachShot
from fsar.alignment.transport import OptimalTransport

__all__ = [
    "DTW",
    "OTAM",
    "TRX",
    "Alignment",
    "AlphaDistance",
    "BiMHM",
    "Chamfer",
    "CosineCost",
    "CostAlignment",
    "CrossTransformer",
    "EachShot",
    "FrameMean",
    "FrameToFrame",
    "Hausdorff",
    "MeanCost",
    "MeanHausdorff",
    "OptimalTransport",
    "PairwiseCost",
    "PatternTokens",
    "SoftDTW",
    "SoftDTWDivergence",
    "SquaredEuclideanCost",
    "WeightedSum",
    "alpha_covariance",
]
