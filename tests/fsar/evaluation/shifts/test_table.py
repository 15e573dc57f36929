"""Shifts of pixels and of time: what each does to frames that a person can count."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from episodes.frames import SegmentCentre
from fsar.evaluation.shifts.table import SHIFTS, Middle, Shifted, find_shift


def counted(t: int = 8, side: int = 12) -> Tensor:
    """Frames whose every pixel is the frame's number."""
    return torch.arange(t, dtype=torch.uint8)[:, None, None, None].expand(t, 3, side, side).contiguous()


def textured(t: int = 4, side: int = 64) -> Tensor:
    return torch.randint(0, 256, (t, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def change(name: str, frames: Tensor, severity: float, seed: int = 0) -> Tensor:
    shift = SHIFTS[name].change
    assert shift is not None
    return shift(frames, severity, torch.Generator().manual_seed(seed))


def order(name: str, severity: float, seed: int = 0) -> list[int]:
    return change(name, counted(), severity, seed)[:, 0, 0, 0].tolist()


def test_time() -> None:
    assert order("reverse", 1) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert order("hold", 2) == [0, 0, 2, 2, 4, 4, 6, 6]
    assert order("hold", 8) == [0] * 8
    for seed in range(5):
        found = order("drop", 0.5, seed)  # round(0.5 * 7) = 4 of the frames behind the first
        assert found[0] == 0
        assert len(set(found)) == 4
        assert all(b in (i, a) for i, (a, b) in enumerate(pairwise(found), 1))
        assert sorted(order("shuffle", 1, seed)) == list(range(8))
        assert all(place != frame for place, frame in enumerate(order("shuffle", 1, seed)))
        assert sum(place != frame for place, frame in enumerate(order("shuffle", 0.25, seed))) == 2


def test_the_middle_is_filmed_faster() -> None:
    middle = Middle(SegmentCentre(), 2)
    assert middle(100, 4).tolist() == [25 + i for i in SegmentCentre()(50, 4).tolist()]
    assert middle(8, 8).tolist() == [2, 2, 3, 3, 4, 4, 5, 5]  # shown again, evenly
    assert middle(1, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["blur", "noise", "compress", "crop", "grey"])
def test_the_harsher_the_further_away_and_the_same_again(name: str) -> None:
    frames = textured()
    away = []
    for severity in SHIFTS[name].severities:
        changed = change(name, frames, severity)
        assert changed.shape == frames.shape
        assert changed.dtype == torch.uint8
        assert torch.equal(changed, change(name, frames, severity))
        away.append(float((changed.float() - frames.float()).square().mean()))
    assert away == sorted(away)
    assert away[0] > 1


def test_pixels() -> None:
    flat = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)
    noise = change("noise", flat, 10).float() - 100
    assert abs(float(noise.std()) - 10) < 1
    assert not torch.equal(noise[0], noise[1])
    frames = textured()
    assert torch.equal(change("crop", frames, 1), frames)
    gone = change("grey", frames, 1)
    assert torch.equal(gone[:, 0], gone[:, 1])
    whole = torch.zeros(1, 3, 20, 20, dtype=torch.uint8)
    whole[..., 10:, :] = 200
    assert set(change("crop", whole, 0.25)[0, 0, 0].tolist()) <= set(range(201))
    large = change("blur", textured(1, 224), 8).float()
    assert float(large.std()) < 0.2 * float(textured(1, 224).float().std())


def test_wrong_names_and_severities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_bad_shift.py").write_text("def bad(frames, severity, generator):\n    return frames[:1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"--shifts nothing\.here is none of drop, hold.*module\.function"):
        find_shift("nothing.here", [1])
    with pytest.raises(ValueError, match="name them with --severities"):
        find_shift("own_bad_shift.bad")
    for name, severity, said in (
        ("drop", 1.5, "1 at most"),
        ("hold", 1.5, "whole number"),
        ("slow", 0.5, "1 or more"),
        ("noise", 0.0, "above 0"),
        ("pgd", 0.5, "whole number"),
    ):
        with pytest.raises(ValueError, match=f"severity {severity:g} of {name}.*{said}"):
            find_shift(name, [severity])
    shift = find_shift("own_bad_shift.bad", [1, 2])
    assert shift.severities == (1, 2)
    assert shift.change is not None
    shifted = Shifted(lambda clip, generator: clip, shift.change, 1, "own_bad_shift.bad")
    with pytest.raises(ValueError, match=r"own_bad_shift.bad must give frames \(8, 3, 12, 12\) torch.uint8"):
        shifted(counted(), torch.Generator())
    del sys.modules["own_bad_shift"]
