"""Runs are told apart by colour, also by people who see two hues alike and on grey paper; and by shape."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from fsar.reporting.templates import TEMPLATES

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
"""On linear RGB: Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision
deficiency", IEEE TVCG 2009, severity 1."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1, 1.08883])


def linear(colour: str) -> np.ndarray:
    """sRGB ``#rrggbb`` as linear RGB."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB, where distances are about as large as they look."""
    ratio = XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def palettes() -> list[list[str]]:
    """The six colours of the runs, on light and on dark paper."""
    style = (TEMPLATES / "style.css").read_text()
    return [re.findall(r"--c\d: (#\w{6})", line) for line in style.splitlines() if "--c0:" in line]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_of_runs_differ_for_everyone(scheme: int) -> None:
    colours = palettes()[scheme]
    assert len(colours) == 6
    for a, b in itertools.combinations(map(linear, colours), 2):
        assert np.linalg.norm(lab(a) - lab(b)) > 20
        assert np.linalg.norm(lab(DEUTERANOPIA @ a) - lab(DEUTERANOPIA @ b)) > 15
        assert abs(lab(a)[0] - lab(b)[0]) > 7.5  # grey


def test_the_simulation_makes_red_and_green_alike() -> None:
    red, green = linear("#b4560f"), linear("#5d7a10")
    far, near = lab(red) - lab(green), lab(DEUTERANOPIA @ red) - lab(DEUTERANOPIA @ green)
    assert np.linalg.norm(near) < np.linalg.norm(far) / 2


def test_every_run_has_a_shape_of_its_own() -> None:
    style = (TEMPLATES / "style.css").read_text()
    shapes = re.findall(r"^\.k\d \{[^}]*\}", style, flags=re.MULTILINE)
    assert len({shape.split("{")[1] for shape in shapes}) == 5  # and the circle
