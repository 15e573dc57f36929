"""Bootstrap, Holm and power against outside references and planted cases."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from fsar.evaluation.comparing.significance import bootstrap, bootstrap_clips, correct_holm, needed_units, resample


def test_the_bootstrap_is_scipys() -> None:
    x = np.random.default_rng(1).normal(0.03, 0.2, 400)
    ours = bootstrap(x, draws=4000)
    theirs = scipy.stats.bootstrap((x,), np.mean, method="percentile", n_resamples=4000, rng=2).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.002)
    assert ours.high == pytest.approx(theirs.high, abs=0.002)
    assert ours.p == pytest.approx(scipy.stats.ttest_1samp(x, 0).pvalue, abs=0.02)
    assert ours == bootstrap(x, draws=4000)  # seeded


def test_chunks_do_not_change_how_many_are_drawn() -> None:
    assert resample(np.arange(30_000.0), draws=300).shape == (300,)


def test_no_difference_is_not_sure_and_a_constant_one_is() -> None:
    assert bootstrap(np.zeros(50)).p == 1.0
    assert bootstrap(np.full(50, 0.1)).p < 0.001
    with pytest.raises(ValueError, match="two values at least"):
        bootstrap([0.1])


def test_an_interval_over_classes_is_wider_than_one_over_queries() -> None:
    """Twenty thousand queries of three classes, one of them never right: sure of these, not of others."""
    classes = np.repeat(np.arange(3), 7000)
    clips = np.arange(len(classes)) % 7000 % 15 + 100 * classes
    right = (classes > 0).astype(float)
    over_classes = bootstrap_clips(right, classes, clips)
    assert over_classes.mean == pytest.approx(2 / 3)
    assert over_classes.units == 3
    assert over_classes.high - over_classes.low > 0.6
    assert bootstrap(right).high - bootstrap(right).low < 0.02
    with pytest.raises(ValueError, match="two classes at least"):
        bootstrap_clips(right[:10], classes[:10], clips[:10])


def test_clips_inside_a_class_count_as_units() -> None:
    """Every class has one clip that is always wrong, asked a hundred times: the clip is one unit of ten."""
    classes = np.repeat(np.arange(40), 109)
    clips = np.concatenate([np.r_[np.zeros(100), np.arange(1, 10)] + 1000 * c for c in range(40)]).astype(int)
    right = (clips % 1000 > 0).astype(float)
    found = bootstrap_clips(right, classes, clips)
    assert found.mean == pytest.approx(0.9)
    assert found.low < 0.9 < found.high


def test_the_bootstrap_over_classes_draws_the_clips_of_a_class_anew_each_time() -> None:
    """Against loops. Clips differ and classes hardly: drawing a class's clips once a resample is 1.3 times as wide."""
    generator = np.random.default_rng(4)
    values = generator.normal(size=(6, 5))
    values -= values.mean(1, keepdims=True)
    means = [
        np.mean([generator.choice(values[c], 5).mean() for c in generator.integers(6, size=6)]) for _ in range(4000)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    found = bootstrap_clips(values.ravel(), np.repeat(np.arange(6), 5), np.arange(30))
    assert found.high - found.low == pytest.approx(high - low, rel=0.08)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_what_every_single_step_says(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(0, 0.2, 6)
    order = np.sort(p)
    steps = np.maximum.accumulate(np.minimum(1, order * np.arange(6, 0, -1)))
    found = correct_holm(p.tolist())
    np.testing.assert_allclose(np.sort(found), steps)
    assert all(c >= x for c, x in zip(found, p, strict=True))
    assert correct_holm([]) == []


def test_power_is_kept() -> None:
    """With as many episodes as are said to be needed, four of five tests find the difference."""
    generator, deviation, difference = np.random.default_rng(0), 0.3, 0.05
    count = needed_units(deviation, difference)
    assert count is not None
    samples = generator.normal(difference, deviation, (2000, count))
    found = scipy.stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert float(found.mean()) == pytest.approx(0.8, abs=0.03)
    assert needed_units(0.3, 0.0) is None
