"""What is said and drawn of a matching: a path in order of time where there is one, and no other line."""

from __future__ import annotations

import itertools

import pytest
import torch
from matplotlib.figure import Figure

from fsar.alignment import DTW, OTAM, BiMHM, FrameMean, FrameToFrame, SoftDTW, WeightedSum
from fsar.alignment.base import CostAlignment
from fsar.alignment.maps import FrameMap, alignment_maps
from fsar.drawing import trace

ORDERED = {
    "OTAM": OTAM(),
    "OTAM, one way": OTAM(bidirectional=False, boundary="single"),
    "OTAM, sharp": OTAM(temperature=0.01),
    "DTW": DTW(),
    "SoftDTW": SoftDTW(),
    "FrameToFrame": FrameToFrame(),
}


def walks(t: int, u: int) -> list[list[tuple[int, int]]]:
    """All paths that visit every column once and go down by one row or none."""
    found = []
    for start, steps in itertools.product(range(t), itertools.product((0, 1), repeat=u - 1)):
        rows = list(itertools.accumulate(steps, initial=start))
        if rows[-1] < t:
            found.append([(row, column) for column, row in enumerate(rows)])
    return found


@pytest.mark.parametrize(("t", "u"), [(3, 4), (5, 4), (4, 4), (1, 3), (3, 1)])
def test_the_drawn_path_of_otam_is_the_cheapest_of_all(t: int, u: int) -> None:
    torch.manual_seed(t * 10 + u)
    for _ in range(5):
        cost = torch.rand(t, u, dtype=torch.float64)
        forward, back = OTAM().best_paths(cost).values()
        cheapest = min(sum(float(cost[cell]) for cell in walk) for walk in walks(t, u))
        assert float((cost * forward).sum()) == pytest.approx(cheapest)
        assert forward.sum(0).tolist() == [1] * u  # every frame of the class once
        assert back.sum(1).tolist() == [1] * t
        cheapest = min(sum(float(cost.T[cell]) for cell in walk) for walk in walks(u, t))
        assert float((cost * back).sum()) == pytest.approx(cheapest)


@pytest.mark.parametrize("name", ORDERED)
def test_every_line_that_is_drawn_runs_forward(name: str) -> None:
    torch.manual_seed(0)
    metric: CostAlignment = ORDERED[name]
    drawn = 0
    for t, u in ((8, 8), (8, 5), (6, 8)):
        walk = torch.randn(max(t, u), 16).cumsum(0)  # a clip that moves on
        maps = alignment_maps(metric, walk[None, :t] + 0.3 * torch.randn(2, t, 16), walk[None, :u].clone())
        for (found,) in maps:
            axes = Figure().add_subplot()
            trace(axes, found.paths)
            lines = axes.lines
            assert len(lines) == len(found.paths)
            drawn += len(lines)
            for line in lines:
                across, down = (torch.tensor(values) for values in (line.get_xdata(), line.get_ydata()))
                assert bool((across.diff() >= 0).all())
                assert bool((down.diff() >= 0).all())
                if name != "FrameToFrame":  # which skips frames of the longer clip
                    assert int(torch.maximum(across.diff(), down.diff()).max()) == 1
    assert drawn


def test_a_still_clip_has_no_clear_order() -> None:
    torch.manual_seed(1)
    still = torch.randn(1, 1, 16) + 0.05 * torch.randn(20, 8, 16)
    maps = [found for row in alignment_maps(OTAM(), still[:10], still[10:12]) for found in row]
    assert sum(bool(found.paths) for found in maps) <= 3  # one in twenty by chance
    quiet = next(found for found in maps if not found.paths)
    assert quiet.describe("waving") == "OTAM matches frames with those of waving in no clear order"
    assert quiet.record()["paths"] == {}
    assert 0 <= quiet.record()["concentration"] < 0.1


def test_a_clip_that_moves_on_is_matched_in_order() -> None:
    torch.manual_seed(2)
    clip = torch.randn(1, 5, 16)
    ((found,),) = alignment_maps(OTAM(temperature=0.001), clip, clip.clone())
    assert found.describe("waving") == (
        "OTAM matches frames 1-1 2-2 3-3 4-4 5-5 of waving in order (concentration 1.00)"
    )
    ((soft,),) = alignment_maps(OTAM(temperature=100.0), clip, clip.clone())
    assert soft.paths == found.paths
    assert soft.concentration == pytest.approx(0, abs=0.02)  # the same path, of which the metric makes nothing
    ((back,),) = alignment_maps(OTAM(), clip, clip.flip(1))
    assert not back.paths  # of a clip that runs the other way there is none


def test_a_matching_without_order_has_no_path() -> None:
    clip = torch.randn(1, 4, 16)
    ((found,),) = alignment_maps(BiMHM(), clip, clip.clone())
    assert (found.paths, found.concentration) == ({}, None)
    assert alignment_maps(FrameMean(), clip, clip) == [[]]


def test_a_weighted_sum_gives_the_maps_of_its_parts() -> None:
    torch.manual_seed(3)
    query, classes = torch.randn(2, 5, 16), torch.randn(3, 5, 16)
    metric = WeightedSum([FrameMean(), BiMHM(), OTAM()], [1.0, 2.0, 1.0])
    maps = alignment_maps(metric, query, classes)
    assert [len(row) for row in maps] == [3, 3]
    for found, alone in zip(maps[1], alignment_maps(OTAM(), query, classes)[1], strict=True):
        assert [member.metric for member in found.members] == ["BiMHM", "OTAM"]
        assert found.metric == "OTAM"  # the one that knows order
        assert torch.equal(found.path, alone.path)
        assert [member["metric"] for member in found.record()["members"]] == ["BiMHM", "OTAM"]
    assert alignment_maps(WeightedSum([FrameMean()]), query, classes) == [[], []]


def test_a_map_made_by_hand_says_nothing_of_order() -> None:
    assert "no clear order" in FrameMap("Mine", torch.ones(2, 2), torch.ones(2, 2)).describe("waving")
