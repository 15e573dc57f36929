"""Nearest neighbour and SimpleShot against loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from torch.nn.functional import normalize

from episodes.episode import Episode
from fsar.methods import NearestNeighbour, SimpleShot

Make = Callable[..., Episode]


def test_nearest_neighbour_is_scikit_learns(blind: Any, make_episode: Make) -> None:
    episode = make_episode(shots=4, queries=8)
    oracle = KNeighborsClassifier(1, metric="cosine").fit(episode.support["frames"].mean(1), episode.support_labels)
    guess = NearestNeighbour(blind)(episode).logits.argmax(-1)
    assert guess.tolist() == oracle.predict(episode.query["frames"].mean(1)).tolist()


@pytest.mark.parametrize("normalise", [True, False])
def test_simple_shot_is_the_nearest_centroid_of_centred_clips(blind: Any, make_episode: Make, normalise: bool) -> None:
    episode = make_episode(shots=4, queries=8)
    training = 5 + torch.randn(30, 8, 16)
    method = SimpleShot(blind, normalise=normalise)
    method.fit(training)
    support, query = (
        clips.mean(1) - training.mean((0, 1)) for clips in (episode.support["frames"], episode.query["frames"])
    )
    if normalise:
        support, query = normalize(support, dim=-1), normalize(query, dim=-1)
    oracle = NearestCentroid().fit(support, episode.support_labels)
    assert method(episode).logits.argmax(-1).tolist() == oracle.predict(query).tolist()


def test_centring_removes_what_all_clips_share(blind: Any, make_episode: Make) -> None:
    episode = make_episode(shots=5, queries=8)
    accuracy = []
    for offset in (0.0, 1000.0):
        moved = episode.map(lambda x, offset=offset: x + offset if x.is_floating_point() else x)
        logits = SimpleShot(blind)(moved).logits
        accuracy.append(logits)
    torch.testing.assert_close(accuracy[0], accuracy[1], rtol=1e-2, atol=1e-2)


def test_the_centre_travels_in_a_file(blind: Any, make_episode: Make, tmp_path: Path) -> None:
    method = SimpleShot(blind)
    with pytest.raises(ValueError, match="no centre yet"):
        method.save(tmp_path / "centre.safetensors")
    method.fit(torch.randn(30, 8, 16))
    method.save(tmp_path / "centre.safetensors")
    again = SimpleShot(blind, centre=str(tmp_path / "centre.safetensors"))
    episode = make_episode()
    assert torch.equal(method(episode).logits, again(episode).logits)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        SimpleShot(blind, centre=str(tmp_path / "none.safetensors"))
    blind.channels = 8
    with pytest.raises(ValueError, match=r"must hold 'centre' of shape \(8,\), found \(16,\)"):
        SimpleShot(blind, centre=str(tmp_path / "centre.safetensors"))
