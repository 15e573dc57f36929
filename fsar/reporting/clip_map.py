"""The page of a map of clips: places by class, and lists of what to look at, with thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsar.inference.clip_map import Integers, Pair, Suspect, Values
from fsar.reporting.templates import read_templates
from fsar.terminal.shown import shown


@dataclass(frozen=True)
class Spot:
    """A clip on the map.

    Args:
        file: as the split names it.
        label: number of its class.
        x: 0..1 from the left.
        y: 0..1 from the top.
        thumbnail: JPEG data URI.
        star: it is a support clip.
    """

    file: str
    label: int
    x: float
    y: float
    thumbnail: str
    star: bool


@dataclass(frozen=True)
class ClipMap:
    """All that the page shows.

    Args:
        title: of the page.
        names: of the classes.
        spots: the clips.
        how: what the axes are.
        near: neighbours across classes.
        suspects: labels to look at.
        duplicates: clips that are as good as one.
        agreeing: share of the clips that are nearest to their own class.
        bound: above which two clips count as one.
    """

    title: str
    names: Sequence[str]
    spots: Sequence[Spot]
    how: str
    near: Sequence[Pair]
    suspects: Sequence[Suspect]
    duplicates: Sequence[Pair]
    agreeing: float
    bound: float

    def hue(self, label: int) -> int:
        """Colour of a class; neighbours in the list are far apart, and its number stands beside it everywhere."""
        return round(label * 360 * 0.381966) % 360


def place_spots(
    places: Values, files: Sequence[str], labels: Integers, thumbnails: Sequence[str], stars: set[int]
) -> list[Spot]:
    """Clips at their places ``(v 2)``, brought into 0..1; stars last, so that they lie on top."""
    low, high = places.min(0), places.max(0)
    x, y = ((places - low) / np.maximum(high - low, 1e-12)).T
    spots = [
        Spot(files[i], int(labels[i]), float(x[i]), float(1 - y[i]), thumbnails[i], i in stars)
        for i in range(len(files))
    ]
    return spots


def render_map(found: ClipMap, command: str, version: str) -> str:
    """The page."""
    page = read_templates().get_template("clip_map.html").render(map=found, command=command, version=version)
    return shown(page)
