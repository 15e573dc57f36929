"""A closer look at a query of the gallery, when it is asked for: heat over its frames, what becomes of the answer when
the clip is changed, and a sketch of the frame that decides the match."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from fsar.encoders.tower.rollout import heat_of
from fsar.inference.answer import Answer
from fsar.inference.explain import Explanation, explain
from fsar.inference.predictor import Predictor
from fsar.inference.sketches import sketch_frame, telling_frame

TINT = np.array([255, 106, 0])
STRONGEST = 0.7
"""How much of the tint the hottest patch has."""


class Closer(NamedTuple):
    """What is asked for.

    Args:
        explain: heat, counterfactuals and the weight of every frame.
        sketch: steps of a sketch, 0 for none.
    """

    explain: bool = False
    sketch: int = 0


@dataclass(frozen=True)
class Insight:
    """Of one query.

    Args:
        why: counterfactuals and frames, None where not asked for.
        heat: frames ``(t h w c)`` with heat over them, and what the heat is; None for an encoder without patches.
        sketch: number of a frame, from 0, and its strokes as an SVG element.
    """

    why: Explanation | None
    heat: tuple[str, np.ndarray] | None
    sketch: tuple[int, str] | None

    @property
    def largest(self) -> float:
        """What the weights of the frames are drawn against."""
        return max((abs(x) for x in self.why.frames), default=0.0) or 1.0 if self.why else 1.0


def look_closer(
    predictor: Predictor, support: Mapping[str, Sequence[str]], query: str, answer: Answer, asked: Closer
) -> Insight | None:
    """What is asked for of one query; None when nothing is."""
    if not (asked.explain or asked.sketch):
        return None
    encoder, frames = predictor.learner.method.encoder, predictor.frames(query)
    why = explain(predictor, support, query) if asked.explain else None
    heat = paint_heat(predictor, frames) if asked.explain else None
    sketch = None
    found = answer.alignments.get(answer.ranking[0][0])
    if asked.sketch and found is not None and len(found.path) == len(frames) and "layers" in encoder.gives:
        number = telling_frame(found)
        drawn = sketch_frame(frames[number], encoder, steps=asked.sketch, augmentations=1)
        sketch = number, re.sub(r'stroke="black"', 'stroke="currentColor"', drawn.svg(f"frame {number + 1}"))
    return Insight(why, heat, sketch)


def paint_heat(predictor: Predictor, frames: np.ndarray) -> tuple[str, np.ndarray] | None:
    """Frames ``(t h w c)`` with a tint where the encoder looks, and what that is; None where it has no patches."""
    encoder = predictor.learner.method.encoder
    pixels = torch.from_numpy(frames).movedim(-1, -3).to(next(encoder.parameters()).device)
    found = heat_of(encoder, pixels)
    if found is None or len(found[1]) != len(frames):
        return None
    large = torch.nn.functional.interpolate(found[1][:, None], frames.shape[1:3], mode="bilinear")[:, 0, :, :, None]
    share = STRONGEST * large.numpy()
    return found[0], (frames * (1 - share) + TINT * share).round().astype(np.uint8)
