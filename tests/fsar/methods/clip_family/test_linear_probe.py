"""The linear probe against scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from episodes.episode import Episode
from fsar.methods import LinearProbe
from fsar.methods.clip_family.linear_probe import fit_logistic, fit_ridge, fit_split, shots_to_match, sweep

Make = Callable[..., Episode]


@pytest.mark.parametrize("strength", [1e-2, 1.0, 10.0, 100.0])
@pytest.mark.parametrize(("shots", "d"), [(1, 64), (5, 64), (5, 8)])
def test_logistic_regression_is_scikit_learns(make_episode: Make, strength: float, shots: int, d: int) -> None:
    episode = make_episode(shots=shots, d=d)
    clips = torch.nn.functional.normalize(episode.support["frames"].mean(1), dim=-1).double()
    weight, bias = fit_logistic(clips, episode.support_labels, 5, strength)
    oracle = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(clips, episode.support_labels)
    np.testing.assert_allclose(weight, oracle.coef_, rtol=0, atol=1e-4)
    np.testing.assert_allclose(bias, oracle.intercept_, rtol=0, atol=1e-4)


def test_classes_of_unequal_size_and_clips_twice(make_episode: Make) -> None:
    episode = make_episode(shots=4, shuffle=False)
    keep = [0, 1, 2, 3, 3, 3, 4, 8, 9, 12, 16, 17]
    clips, labels = episode.support["frames"].mean(1)[keep].double(), episode.support_labels[keep]
    weight, bias = fit_logistic(clips, labels, 5, 0.5)
    oracle = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(clips, labels)
    np.testing.assert_allclose(weight, oracle.coef_, rtol=0, atol=1e-4)
    np.testing.assert_allclose(bias, oracle.intercept_, rtol=0, atol=1e-4)


def test_two_classes(blind: Any, make_episode: Make) -> None:
    episode = make_episode(ways=2, shots=4)
    ours, theirs = (LinearProbe(blind, 2.0, solver=s)(episode).probabilities for s in ("logistic", "sklearn"))
    oracle = LogisticRegression(C=2.0, tol=1e-10).fit(
        torch.nn.functional.normalize(episode.support["frames"].mean(1), dim=-1), episode.support_labels
    )
    expected = oracle.predict_proba(torch.nn.functional.normalize(episode.query["frames"].mean(1), dim=-1))
    np.testing.assert_allclose(theirs, expected, atol=1e-4)
    assert ours.argmax(-1).tolist() == expected.argmax(-1).tolist()


def test_a_grid_of_strengths_at_once(make_episode: Make) -> None:
    episodes = Episode.stack([make_episode(seed=i) for i in range(3)])
    clips, strengths = episodes.support["frames"].mean(2), torch.tensor([[0.1], [10.0]])
    weight, bias = fit_logistic(clips, episodes.support_labels, 5, strengths)
    assert weight.shape == (2, 3, 5, 16)
    for i, strength in enumerate((0.1, 10.0)):
        alone = fit_logistic(clips[1], episodes.support_labels[1], 5, strength)
        torch.testing.assert_close(weight[i, 1], alone[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(bias[i, 1], alone[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_ridge_is_scikit_learns(make_episode: Make, penalty: float) -> None:
    episode = make_episode(shots=3, d=32)
    clips = episode.support["frames"].mean(1).double()
    weight, bias = fit_ridge(clips, episode.support_labels, 5, penalty)
    oracle = RidgeClassifier(alpha=penalty).fit(clips, episode.support_labels)
    np.testing.assert_allclose(weight, oracle.coef_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(bias, oracle.intercept_, rtol=0, atol=1e-8)


def test_solvers_agree(blind: Any, make_episode: Make) -> None:
    episodes = Episode.stack([make_episode(shots=3, seed=i) for i in range(4)])
    ours, theirs = (LinearProbe(blind, 5.0, solver=s)(episodes).logits for s in ("logistic", "sklearn"))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


def test_raw_features_are_an_option(blind: Any, make_episode: Make) -> None:
    episode = make_episode()
    scaled = episode.map(lambda x: 3 * x if x.is_floating_point() else x)
    unit, raw = LinearProbe(blind), LinearProbe(blind, normalise=False)
    torch.testing.assert_close(unit(episode).logits, unit(scaled).logits)
    assert not torch.allclose(raw(episode).logits, raw(scaled).logits, atol=0.1)


def test_the_published_sweep_finds_the_top() -> None:
    asked: list[float] = []

    def accuracy(strength: float) -> float:
        asked.append(strength)
        return -abs(math.log10(strength) - 1.3)

    assert math.log10(sweep(accuracy)) == pytest.approx(1.3, abs=0.02)
    assert asked[:7] == [1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6]
    assert math.log10(sweep(lambda strength: 0.5)) == pytest.approx(5.0)  # ties: the first decade, its lower end


def test_a_probe_on_a_split() -> None:
    g = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 10)
    clips = np.eye(4)[labels] @ g.normal(size=(4, 16)) + 0.1 * g.normal(size=(40, 16))
    weight, bias = fit_split(clips, labels, 0.316)
    assert ((clips @ weight.T + bias).argmax(-1) == labels).all()


def test_shots_to_match_zero_shot() -> None:
    assert shots_to_match(0.7, {4: 0.6, 8: 0.8}) == pytest.approx(4 * 2**0.5)
    assert shots_to_match(0.8, {1: 0.2, 4: 0.6, 8: 0.8}) == 8
    assert shots_to_match(0.1, {1: 0.2, 2: 0.4}) == 1
    assert shots_to_match(0.9, {1: 0.2, 2: 0.4}) == math.inf
