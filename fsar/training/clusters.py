"""Classes without labels: clips whose frozen features lie together stand for a class that nobody named.

Episodes of such pseudo-classes train a head as labelled ones do (Hsu, Levine, Finn 2019, "Unsupervised learning via
meta-learning", https://arxiv.org/abs/1810.02334).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def cluster(features: Tensor, clusters: int, seed: int = 0, starts: int = 10) -> tuple[Tensor, Tensor]:
    """Spherical k-means: unit vectors, started as k-means++, until nothing changes; the tightest of some starts.

    Args:
        features: ``(v d)``.
        clusters: how many; no more than there are different features.
        seed: of the starts.
        starts: how many.

    Returns:
        The cluster ``(v)`` of each, and its cosine ``(v)`` with the middle of it.

    Raises:
        ValueError: fewer than two clusters, or more than different features.

    >>> cluster(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 2)[0].tolist() in ([0, 0, 1], [1, 1, 0])
    True
    """
    unit = normalize(features.double(), dim=-1)
    different = len(unit.unique(dim=0))
    if not 2 <= clusters <= different:
        raise ValueError(f"clusters must be from 2 to {different}, the number of different features; found {clusters}.")
    generator = torch.Generator().manual_seed(seed)
    found, near = max((settle(unit, start(unit, clusters, generator)) for _ in range(starts)), key=lambda x: x[1].sum())
    return found, near.to(features.dtype)


def settle(unit: Tensor, middles: Tensor, rounds: int = 100) -> tuple[Tensor, Tensor]:
    """Cluster ``(v)`` and cosine ``(v)`` of unit vectors once nothing changes; an empty cluster takes the worst off."""
    found = torch.full((len(unit),), -1)
    for _ in range(rounds):
        near, now = (unit @ middles.mT).max(-1)
        if torch.equal(now, found):
            break
        found = now
        sums = torch.zeros_like(middles).index_add_(0, found, unit)
        empty = sums.norm(dim=-1) == 0
        sums[empty] = unit[near.argsort()[: int(empty.sum())]]
        middles = normalize(sums, dim=-1)
    return found, near


def start(unit: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """``(k d)``: rows drawn one after the other, each with a probability by its distance from those before."""
    chosen = [int(torch.randint(len(unit), (), generator=generator))]
    far = 1 - unit @ unit[chosen[0]]
    for _ in range(clusters - 1):
        chosen.append(int(torch.multinomial(far.clamp_min(0), 1, generator=generator)))
        far = torch.minimum(far, 1 - unit @ unit[chosen[-1]])
        far[chosen] = 0
    return unit[chosen]
