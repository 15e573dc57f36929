"""Tuning on validation episodes: the whole grid at once is the loop over it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from episodes.episode import Episode
from fsar.method import Method
from fsar.methods import APE, LinearProbe, TipAdapter, TipAdapterF
from fsar.methods.clip_family.tuning import published_grid, tune

Make = Callable[..., Episode]
CACHE = {"beta": [0.1, 3.0, 20.0], "alpha": [0.0, 5.0, 50.0]}


@pytest.mark.parametrize(
    ("make", "grid"),
    [
        (lambda e: TipAdapter(e, temperature=10.0), CACHE),
        (lambda e: APE(e, 10, temperature=10.0), {**CACHE, "gamma": [0.0, 2.0]}),
        (lambda e: TipAdapterF(e, temperature=10.0, steps=2), CACHE),
        (lambda e: LinearProbe(e), {"strength": [1e-3, 1.0, 100.0]}),
        (lambda e: LinearProbe(e, solver="ridge"), {"strength": [1e-3, 1.0, 100.0]}),
    ],
)
@pytest.mark.parametrize("points", [2, 1000])
def test_is_the_loop_over_the_grid(
    encoder: Any, make_episode: Make, make: Callable[[Any], Method], grid: dict[str, list[float]], points: int
) -> None:
    batches = [Episode.stack([make_episode(seed=10 * b + i) for i in range(4)]) for b in range(3)]
    method = make(encoder)
    chosen = tune(method, batches, grid, method, points)
    right = {}
    for point in product(*grid.values()):
        for name, value in zip(grid, point, strict=True):
            setattr(method, name, value)
        right[point] = sum(int((method(b).logits.argmax(-1) == b.query_labels).sum()) for b in batches)
    assert tuple(chosen.values()) == pytest.approx(max(right, key=right.__getitem__))  # the first of equals
    assert len(set(right.values())) > 1


def test_sets_plain_numbers(encoder: Any, make_episode: Make) -> None:
    method = TipAdapter(encoder)
    chosen = tune(method, [Episode.stack([make_episode()])], CACHE, method)
    assert (method.beta, method.alpha) == (chosen["beta"], chosen["alpha"])
    assert isinstance(method.beta, float)


def test_an_unknown_hyper_parameter_is_refused(encoder: Any, make_episode: Make) -> None:
    method = TipAdapter(encoder)
    with pytest.raises(ValueError, match="TipAdapter has no hyper-parameter 'gamma'"):
        tune(method, [Episode.stack([make_episode()])], {"gamma": [1.0]}, method)


def test_the_published_grid() -> None:
    grid = published_grid(7, 3, 1.5)
    assert [len(values) for values in grid.values()] == [200, 20, 20]
    assert grid["beta"][0] == grid["alpha"][0] == 0.1
    assert grid["gamma"][0] == 0.0
    assert grid["beta"][-1] == pytest.approx(7 - 6.9 / 200)
    assert list(published_grid()) == ["beta", "alpha"]
