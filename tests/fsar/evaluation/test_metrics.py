"""The accuracy and its interval against numpy."""

import numpy as np
import pytest
import torch

from fsar.evaluation.metrics import EpisodeAccuracy


def test_mean_and_interval_agree_with_numpy() -> None:
    logits, labels = torch.randn(300, 5, 5), torch.randint(5, (300, 5))
    per_episode = (logits.argmax(-1) == labels).double().mean(-1).numpy()
    metric = EpisodeAccuracy()
    metric.update(logits, labels)
    accuracy = metric.compute()
    assert accuracy.mean == pytest.approx(per_episode.mean(), abs=1e-12)
    assert accuracy.interval == pytest.approx(1.96 * per_episode.std(ddof=1) / np.sqrt(300), abs=1e-12)
    assert accuracy.episodes == 300


def test_batching_does_not_matter() -> None:
    logits, labels = torch.randn(64, 5, 5), torch.randint(5, (64, 5))
    together, apart = EpisodeAccuracy(), EpisodeAccuracy()
    together.update(logits, labels)
    for i in range(64):
        apart.update(logits[i], labels[i])
    assert together.compute() == pytest.approx(apart.compute(), abs=1e-12)


def test_one_episode_has_no_interval_and_none_is_an_error() -> None:
    metric = EpisodeAccuracy()
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(ValueError, match="no episode"):
        metric.compute()
    metric.update(torch.eye(3), torch.arange(3))
    mean, interval, episodes = metric.compute()
    assert (mean, episodes) == (1.0, 1)
    assert np.isnan(interval)
    assert "100.00" in str(metric.compute())
