"""Pictures of alignments: numbers that tell costs apart, and names in every script that a font is there for."""

from __future__ import annotations

import pytest
import torch
from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure

from fsar.alignment.maps import digits
from fsar.drawing import COSTS, PATH, font_fallback, panel


@pytest.mark.parametrize(
    ("values", "places"), [([0.1, 0.9], 2), ([0.10, 0.14], 3), ([0.001, 0.004], 4), ([0.5, 0.5], 2), ([0.0, 1e-9], 5)]
)
def test_costs_that_are_near_alike_get_more_digits(values: list[float], places: int) -> None:
    assert digits(torch.tensor([values])) == places
    axes = panel(Figure(), 0.1, torch.tensor([values]), COSTS, "costs")
    assert [text.get_text() for text in axes.texts] == [f"{value:.{places}f}" for value in values]


def test_a_path_keeps_two_digits_and_leaves_out_what_is_nothing() -> None:
    axes = panel(Figure(), 0.1, torch.tensor([[0.001, 0.006]]), PATH, "path")
    assert [text.get_text() for text in axes.texts] == ["", "0.01"]


def test_other_scripts_fall_back_on_fonts_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["Noto Sans CJK SC", "DejaVu Sans", "Comic"])
    before = list(rcParams["font.family"])
    with font_fallback():
        assert rcParams["font.family"] == [*before, "Noto Sans CJK SC"]
        text = Figure().text(0, 0, "挥手")
    assert rcParams["font.family"] == before
    assert text.get_fontfamily() == [*before, "Noto Sans CJK SC"]
