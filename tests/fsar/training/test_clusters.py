"""Clusters of features, against scikit-learn's on the same data, and where there is nothing to cluster."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import normalize

from fsar.training.clusters import cluster, settle


def blobs(spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    middles = normalize(torch.randn(6, 16, generator=g, dtype=torch.float64), dim=-1)
    labels = torch.arange(6).repeat_interleave(20)
    return middles[labels] + spread * torch.randn(120, 16, generator=g, dtype=torch.float64), labels


def within(features: Tensor, labels: Tensor) -> float:
    unit = normalize(features, dim=-1)
    middles = normalize(torch.stack([unit[labels == k].mean(0) for k in labels.unique()]), dim=-1)
    return float((unit @ middles.mT).amax(-1).mean())


def test_planted_groups_are_found_whatever_the_lengths_of_the_features() -> None:
    features, labels = blobs(0.05)
    found, cosine = cluster(features * torch.linspace(0.1, 9, 120)[:, None], 6)
    pairs = {(int(a), int(b)) for a, b in zip(found, labels, strict=True)}
    assert len(pairs) == 6
    assert cosine.min() > 0.9


def test_as_tight_as_scikit_learns_best_of_ten() -> None:
    features, _ = blobs(0.3)
    ours = max(within(features, cluster(features, 6, seed)[0]) for seed in range(10))
    theirs = KMeans(6, n_init=10, random_state=0).fit(normalize(features, dim=-1).numpy()).labels_
    assert ours > within(features, torch.from_numpy(theirs)) - 5e-3


def test_the_same_seed_gives_the_same_and_every_cluster_holds_a_clip() -> None:
    features, _ = blobs(0.3)
    first, again, other = (cluster(features, 40, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique()) == 40


def test_an_empty_cluster_takes_the_worst_off() -> None:
    angle = torch.tensor([0.0, 1.0, 2.0, 40.0]).deg2rad()
    unit = torch.stack([angle.cos(), angle.sin()], -1)
    found, near = settle(unit, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert found.tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(near[3], torch.tensor(1.0))


@pytest.mark.parametrize("clusters", [1, 4])
def test_more_clusters_than_different_features_are_refused(clusters: int) -> None:
    with pytest.raises(ValueError, match="from 2 to 3"):
        cluster(torch.eye(3).repeat(4, 1), clusters)
