"""The line of baselines: found again where there is one, and named errors where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from fsar.evaluation.shifts.effective import Line, fit_line
from fsar.evaluation.shifts.kept import line_of
from fsar.evaluation.shifts.suite import Row, as_row


def test_points_on_a_line_are_expected_and_what_lies_above_is_left() -> None:
    line = Line(a=-0.7, b=1.3, baselines=4)
    clean = [0.3, 0.5, 0.8, 0.95]
    found = fit_line(clean, [line.expect(each) for each in clean])
    assert (found.a, found.b, found.baselines) == (pytest.approx(-0.7), pytest.approx(1.3), 4)
    assert found.expect(0.5) == pytest.approx(1 / (1 + np.exp(0.7)))
    assert 0 <= fit_line([0.0, 1.0], [0.0, 1.0]).expect(1.0) <= 1  # logits of 0 and 1 are not finite
    with pytest.raises(ValueError, match=r"two different accuracies at least, found 50\.00 %, 50\.00 %"):
        fit_line([0.5, 0.5], [0.4, 0.3])


def test_baselines_by_their_rows() -> None:
    def rows(clean: float, after: float) -> list[Row]:
        base, fell = np.full(4, clean), np.full(4, after)
        return [as_row("clean", 0, base, base), as_row("noise", 10, fell, base)]

    known = {"a": rows(0.4, 0.3), "b": rows(0.8, 0.6)}
    assert line_of(known, "noise", 10).expect(0.4) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="baseline a was not measured under noise 25: `fsar robustness a --shifts"):
        line_of(known, "noise", 25)


def test_differences_are_of_the_same_episodes() -> None:
    clean, after = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.5, 0.0, 0.5, 0.0])
    row = as_row("blur", 2, after, clean)
    assert row.difference == -0.25
    assert row.difference_interval_95 == pytest.approx(1.96 * np.std([-0.5, 0, -0.5, 0], ddof=1) / 2)
    assert row.interval_95 == pytest.approx(row.difference_interval_95)
