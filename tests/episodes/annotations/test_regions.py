"""Tinted boxes against the released picture, and boxes that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from episodes.annotations.regions import COLOURS, RegionPrompt, read_boxes


@pytest.mark.parametrize("colour", COLOURS)
def test_as_released(reference: Callable[..., dict[str, Tensor]], colour: str) -> None:
    arrays = reference("cpt_tint")
    clip = arrays["picture"].permute(2, 0, 1).expand(3, -1, -1, -1)
    found = RegionPrompt(colour)(clip, arrays["box"])
    for frame in found:
        off = frame.permute(1, 2, 0).int() - arrays[f"out_{colour}"].int()
        assert int(off.abs().max()) <= 1


def test_boxes_of_their_own_for_each_frame() -> None:
    clip = torch.zeros(2, 3, 6, 8, dtype=torch.uint8)
    nothing = [float("nan")] * 4
    found = RegionPrompt((255, 255, 255), alpha=1.0)(clip, [[[0, 0, 2, 1]], [nothing]])
    assert found[0, 0].nonzero().tolist() == [[0, 0], [0, 1]]
    assert int(found[1].max()) == 0
    assert torch.equal(RegionPrompt(alpha=0.0)(clip, [0, 0, 8, 6]), clip)
    twice = RegionPrompt("red")(clip, [[0, 0, 4, 4], [0, 0, 4, 4]])
    assert torch.equal(twice, RegionPrompt("red")(clip, [0, 0, 4, 4]))


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([0, 0, 9, 6], "does not lie in a frame of 8 x 6"),
        ([3, 0, 3, 6], "is empty"),
        ([-1, 0, 3, 6], "does not lie in a frame"),
        ([1, 2, 3], "x1 y1 x2 y2 in pixels"),
        ([[[0, 0, 1, 1]]] * 3, "boxes of 3 frames for a clip of 2"),
    ],
)
def test_wrong_boxes(boxes: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RegionPrompt()(torch.zeros(2, 3, 6, 8, dtype=torch.uint8), boxes)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="colour is one of red, green, blue"):
        RegionPrompt("pink")
    with pytest.raises(ValueError, match=r"alpha must lie in 0\.\.1"):
        RegionPrompt(alpha=2)


def test_files_of_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[[[1, 2, 3, 4]], [null]]")
    np.save(tmp_path / "b.npy", np.array([1, 2, 3, 4]))
    assert read_boxes(tmp_path / "a.json").shape == (2, 1, 4)
    assert bool(read_boxes(tmp_path / "a.json")[1].isnan().all())
    assert read_boxes(tmp_path / "b.npy").tolist() == [1, 2, 3, 4]
    (tmp_path / "c.json").write_text('{"a": 1}')
    (tmp_path / "d.txt").write_text("1 2 3 4")
    for name in ("c.json", "d.txt", "gone.json"):
        with pytest.raises(ValueError, match=name):
            read_boxes(tmp_path / name)
