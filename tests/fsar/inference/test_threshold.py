"""The bound below which a clip is unlike all classes: what it promises is kept on clips that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest

from fsar.inference.threshold import Threshold, bound, leave_out


def threshold(**changes: object) -> Threshold:
    facts = {"bounds": {"a": 1.0, "b": 2.0}, "keep": 0.9, "left_out": 12, "refused": 9, "foreign": 12}
    return Threshold(**(facts | changes))  # type: ignore[arg-type]


def test_the_bound_is_one_of_the_smallest() -> None:
    values = [float(x) for x in range(19, 0, -1)]
    assert bound(values, 0.9) == 2.0  # 2 in 19 + 1
    assert bound(values, 0.95) == 1.0
    assert bound(values, 0.96) is None
    assert bound([], 0.9) is None
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            bound(values, wrong)


@pytest.mark.parametrize("keep", [0.9, 0.75])
@pytest.mark.parametrize("count", [9, 18, 30])
def test_new_draws_are_kept_as_often_as_promised(count: int, keep: float) -> None:
    rng = np.random.default_rng(count)
    kept, draws = 0, 4000
    for _ in range(draws):
        values = rng.gamma(2.0, size=count + 1)
        found = bound(values[1:].tolist(), keep)
        kept += found is None or values[0] >= found
    promised = threshold(keep=keep, left_out=count).promised
    half = 1.96 * (promised * (1 - promised) / draws) ** 0.5
    assert keep <= promised <= keep + 1 / (count + 1)
    assert kept / draws == pytest.approx(promised, abs=1.5 * half)


def test_a_class_is_held_to_as_few_clips_as_it_has() -> None:
    labels = [0, 0, 0, 1, 1, 2]
    assert leave_out(labels, 1) == [
        (0, [1, 3, 4, 5]), (1, [2, 3, 4, 5]), (2, [0, 3, 4, 5]), (3, [0, 1, 2, 4, 5]), (4, [0, 1, 2, 3, 5])
    ]  # fmt: skip
    assert leave_out(labels, 2)[:2] == [(0, [1, 2, 3, 4, 5]), (1, [0, 2, 3, 4, 5])]
    assert leave_out([0, 1, 2], 4) == []


def test_a_clip_is_unlike_all_below_every_bound() -> None:
    assert threshold().unlike_all({"a": 0.9, "b": 1.9})
    assert not threshold().unlike_all({"a": 0.9, "b": 2.0})
    assert not threshold(bounds={"a": 1.0, "b": None}).unlike_all({"a": 0.0, "b": 0.0})


def test_what_the_bound_stands_on_is_said() -> None:
    said = threshold().explain()
    assert "12 support clips" in said
    assert "92% or more of new clips of these classes are kept" in said
    assert "expect 29% of clips of other classes to pass" in said
    assert "do not rely" not in said
    assert "do not rely on it" in threshold(refused=3).explain()
    few = threshold(bounds={"a": None, "b": None}, left_out=4).explain()
    assert "takes 9 support clips" in few
    assert "With these, `fsar predict --keep 0.8` is possible" in few
    assert "--keep 0" not in threshold(bounds={"a": None, "b": None}, left_out=0).explain()
