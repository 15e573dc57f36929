"""Every alignment of the package, as it is tried on: a new one is covered by a line here."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fsar.alignment import (
    DTW,
    OTAM,
    TRX,
    Alignment,
    AlphaDistance,
    BiMHM,
    Chamfer,
    CosineCost,
    CrossTransformer,
    EachShot,
    FrameMean,
    FrameToFrame,
    Hausdorff,
    MeanCost,
    MeanHausdorff,
    OptimalTransport,
    PatternTokens,
    SoftDTW,
    SoftDTWDivergence,
    SquaredEuclideanCost,
    WeightedSum,
)

MEMBERS: dict[str, Callable[[], Alignment]] = {
    "frame mean": FrameMean,
    "frame mean, Euclidean": lambda: FrameMean(SquaredEuclideanCost()),
    "frame to frame": FrameToFrame,
    "mean cost": MeanCost,
    "mean Hausdorff": MeanHausdorff,
    "Bi-MHM": lambda: BiMHM(cost=CosineCost(epsilon=0.0)),
    "Bi-MHM, soft": lambda: BiMHM(temperature=0.1),
    "Chamfer": Chamfer,
    "Hausdorff": Hausdorff,
    "DTW": DTW,
    "soft-DTW": lambda: SoftDTW(0.1, SquaredEuclideanCost()),
    "soft-DTW divergence": SoftDTWDivergence,
    "OTAM": OTAM,
    "OTAM, one way": lambda: OTAM(0.1, bidirectional=False),
    "OTAM, single boundary": lambda: OTAM(boundary="single", cost=SquaredEuclideanCost()),
    "OTAM, cold": lambda: OTAM(temperature=0.01),
    "transport": OptimalTransport,
    "transport, ordered": lambda: OptimalTransport(0.5, order=1.0),
    "transport, unbalanced": lambda: OptimalTransport(0.5, unbalanced=1.0),
    "TRX": lambda: TRX(16, width=12),
    "cross-transformer": lambda: CrossTransformer(16, width=12),
    "each shot": lambda: EachShot(OTAM(0.1)),
    "TEAM": lambda: PatternTokens(16, patterns=6),
    "TS-FSAR": lambda: AlphaDistance(4, frames=5),
    "weighted sum": lambda: WeightedSum([OTAM(), FrameMean()], [1.0, 0.5]),
}


def make(name: str) -> Alignment:
    torch.manual_seed(0)
    return MEMBERS[name]()


def clips(metric: Alignment) -> tuple[torch.Tensor, torch.Tensor]:
    """Three queries ``(q t d)`` and four supports ``(n u d)``, or ``(n k u d)``, for a member; float32."""
    channels = 14 if isinstance(metric, AlphaDistance) else 16
    generator = torch.Generator().manual_seed(0)
    shots = (2,) if metric.merges_shots else ()
    query = torch.randn(3, 5, channels, generator=generator)
    return query, torch.randn(4, *shots, 5, channels, generator=generator)
