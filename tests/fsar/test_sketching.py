"""Sketches: the loss against the released one, strokes and their pixels, and a circle that is found."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fsar.sketching import (
    Sketch,
    draw_strokes,
    find_edges,
    sample_curves,
    shift_alike,
    sketch_loss,
    sketch_picture,
    start_strokes,
)


def _see(pictures: Tensor) -> tuple[list[Tensor], Tensor]:
    """Blurred pixels at two scales, as a network that anyone can check."""
    half, quarter = (torch.nn.functional.avg_pool2d(pictures, k) for k in (2, 4))
    return [half, quarter], quarter.flatten(1)


def _circle(size: int = 32) -> Tensor:
    along = torch.arange(size) + 0.5
    away = ((along[:, None] - size / 2) ** 2 + (along - size / 2) ** 2).sqrt()
    return (1 - torch.exp(-(((away - size / 3) / 1.5) ** 2))).expand(3, -1, -1)


def test_loss_as_released(reference: Callable[..., dict[str, Tensor]]) -> None:
    arrays = reference("clipasso_loss")
    seen = {who: ([arrays[f"{who}_f2"], arrays[f"{who}_f3"]], arrays[f"{who}_fc"]) for who in ("sketch", "image")}
    found = sketch_loss(seen["sketch"], seen["image"])
    torch.testing.assert_close(found["layers"], torch.stack([arrays["loss_layer2"], arrays["loss_layer3"]]))
    torch.testing.assert_close(found["pooled"], arrays["loss_fc"], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found["loss"], found["layers"].sum() + found["pooled"])
    assert float(sketch_loss(seen["image"], seen["image"])["loss"]) == pytest.approx(0, abs=1e-6)


def test_a_curve_begins_and_ends_at_its_points_and_a_straight_one_is_a_line() -> None:
    stroke = torch.tensor([[[2.0, 3.0], [4.0, 3.0], [6.0, 3.0], [8.0, 3.0]]], dtype=torch.float64)
    points = sample_curves(stroke, 7)
    torch.testing.assert_close(points[0, :, 0], torch.linspace(2, 8, 7, dtype=torch.float64))
    picture = draw_strokes(stroke, 12, width=1.0)
    assert float(picture[2:4, 3:8].max()) < 0.3  # ink along the line: row is y, column is x
    assert float(picture[8:].min()) > 0.99


def test_gradients_of_the_drawing() -> None:
    strokes = (torch.rand(2, 4, 2, dtype=torch.float64) * 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: draw_strokes(x, 6, 2.0), strokes)


def test_a_circle_is_found() -> None:
    sketch = sketch_picture(_circle(), _see, strokes=4, steps=120, augmentations=0)
    assert sketch.losses[-1] < 0.1 * sketch.losses[0]
    ink, wanted = 1 - sketch.picture(), 1 - _circle()[0]
    assert float((ink * (wanted > 0.2)).sum() / ink.sum()) > 0.9
    again = sketch_picture(_circle(), _see, strokes=4, steps=3, augmentations=1, seed=5)
    assert torch.equal(
        again.strokes, sketch_picture(_circle(), _see, strokes=4, steps=3, augmentations=1, seed=5).strokes
    )


def test_strokes_begin_where_something_changes_and_pairs_are_shifted_alike() -> None:
    edges = find_edges(_circle())
    assert float(edges.sum()) == pytest.approx(1.0)
    start = start_strokes(edges, 16, torch.Generator().manual_seed(0))
    away = ((start[:, 0] - 16) ** 2).sum(-1).sqrt()
    assert bool(((away > 7) & (away < 15)).float().mean() > 0.9)
    assert len({tuple(p) for p in start[:, 0].tolist()}) == 16
    pair = shift_alike(torch.stack([_circle(), _circle()]), torch.Generator().manual_seed(1))
    assert torch.equal(pair[0], pair[1])
    assert not torch.equal(pair[0], _circle())


def test_files(tmp_path: Path) -> None:
    sketch = Sketch(torch.rand(3, 4, 2) * 16, 16, 1.5, (0.5,))
    sketch.write(tmp_path / "a.svg", "a <b> & c")
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert len(root.findall("{*}path")) == 3
    assert root.findtext("{*}title") == "a <b> & c"
    sketch.write(tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).shape == (64, 64)


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="square and in colour"):
        sketch_picture(torch.rand(1, 8, 8), _see)
    with pytest.raises(ValueError, match="strokes=0"):
        sketch_picture(_circle(), _see, strokes=0)
    with pytest.raises(FloatingPointError, match="at step 0"):
        sketch_picture(_circle(), lambda x: ([x * float("nan")], x.flatten(1)), steps=2)
