"""Pictures of alignments: numbers that tell costs apart, and names in every script that a font is there for."""

from __future__ import annotations

import html
import io
import re

import numpy as np
import pytest
import torch
from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure

from fsar.alignment.maps import digits
from fsar.drawing import COSTS, PATH, draw, draw_confusion, panel, show_steps, text_as_it_is
from fsar.terminal.shown import shown


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
    with text_as_it_is():
        assert rcParams["font.family"] == [*before, "Noto Sans CJK SC"]
        text = Figure().text(0, 0, "挥手")
    assert rcParams["font.family"] == before
    assert text.get_fontfamily() == [*before, "Noto Sans CJK SC"]


@pytest.mark.parametrize("name", [r"pay $\foo$ now", "tip_5$ x^2$", "\x1b[31mred", "caf\udce9"])
def test_names_are_drawn_as_they_are(name: str) -> None:
    """No formula, nothing that a terminal obeys, no byte that is no letter."""
    frames = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    pictures = [
        draw_confusion([[1, 0], [0, 1]], [name, "b"]),
        draw(frames, frames, torch.rand(2, 2), torch.rand(2, 2), name),
    ]
    for picture in pictures:
        picture.savefig(out := io.BytesIO(), format="svg")
        comments = re.findall("<!-- (.*?) -->", out.getvalue().decode())
        assert html.escape(shown(name), quote=False) in [html.unescape(text) for text in comments]


def test_a_step_of_several_frames_is_shown_by_the_middle_one() -> None:
    clip = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(3, -1)
    assert show_steps(clip, 2)[:, 0, 0, 0].tolist() == [1, 4]
    assert show_steps(clip, 6) is clip
    assert show_steps(clip, 4) is clip  # of which a step would not be whole frames
    figure = draw(clip, clip, torch.rand(2, 2), torch.rand(2, 2), "title")
    assert len([axes for axes in figure.axes if axes.images]) == 2 + 2 * 4
    assert "a step stands for 3 frames" in figure.texts[-1].get_text()
