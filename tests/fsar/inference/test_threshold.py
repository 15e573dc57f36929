"""The bound below which a clip is unlike all classes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fsar.inference.threshold import calibrate


def test_a_bound_that_divides_stands_in_the_middle() -> None:
    found = calibrate([5.0, 7.0], [1.0, 2.0, 3.0])
    assert found.value == 4.0
    assert found.separation == 1.0
    assert "2 of 2" in found.explain()
    assert "3 of 3" in found.explain()
    assert "do not rely" not in found.explain()


def test_no_bound_is_better() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        genuine, foreign = rng.normal(1, 1, 7).round(1), rng.normal(0, 1, 9).round(1)
        found = calibrate(genuine.tolist(), foreign.tolist())
        every = [(genuine >= b).mean() + (foreign < b).mean() - 1 for b in np.arange(-5, 5, 0.05) + 0.01]
        assert found.separation == pytest.approx(max(every))


def test_similarities_that_do_not_differ_are_said_to() -> None:
    assert "do not rely on it" in calibrate([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).explain()
    assert calibrate([1.0], [1.0]).separation == 0


def test_of_equally_good_bounds_the_middle_is_taken() -> None:
    assert calibrate([1.0, 3.0, 5.0], [0.0, 2.0, 4.0]).value == 2.5  # 0.5, 2.5 and 4.5 separate by a third


def test_one_clip_a_class_refuses_what_other_classes_reach() -> None:
    found = calibrate([], [-3.0, -1.0])
    assert -1.0 < found.value < -0.99
    assert math.isnan(found.separation)
    assert "two clips a class" in found.explain()


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(ValueError, match="found none"):
        calibrate([1.0], [])
