"""A closer look at a query of the gallery, when it is asked for: heat over its frames, what becomes of the answer when
the clip is changed, and a sketch of the frame that decides the match."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from episodes.files import write_atomically
from fsar.drawing import draw_heat, tint
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.heat import ROLLOUT, heat_of
from fsar.inference.answer import Answer
from fsar.inference.explain import Explanation, explain
from fsar.inference.predictor import Predictor
from fsar.inference.sketches import sketch_frame, telling_frame
from fsar.terminal.shown import shown


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
        heat: what it is, and the frames ``(t h w c)`` with it over them: where the encoder looks, and what speaks for
            the class; none for an encoder without patches.
        sketch: number of a frame, from 0, and its strokes as an SVG element.
    """

    why: Explanation | None
    heat: Sequence[tuple[str, np.ndarray]]
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
    heat = list(paint_heats(encoder, frames, why)) if why else []
    sketch = None
    found = answer.alignments.get(answer.ranking[0][0])
    if asked.sketch and found is not None and len(found.path) == len(frames) and "layers" in encoder.gives:
        number = telling_frame(found)
        drawn = sketch_frame(frames[number], encoder, steps=asked.sketch, augmentations=1)
        sketch = number, re.sub(r'stroke="black"', 'stroke="currentColor"', drawn.svg(f"frame {number + 1}"))
    return Insight(why, heat, sketch)


def paint_heats(encoder: FrameEncoder, frames: np.ndarray, why: Explanation) -> Iterator[tuple[str, np.ndarray]]:
    """What heat is, and frames ``(t h w c)`` with it over them; where no attention can be rolled out that of the class
    alone, if it has any."""
    pixels = torch.from_numpy(frames).movedim(-1, -3).to(next(encoder.parameters()).device)
    looked = heat_of(encoder, pixels)
    if looked and len(looked[1]) == len(frames) and (looked[0] == ROLLOUT or why.heat is None):
        yield f"Where the encoder looks: {looked[0]}, the hottest patch of each frame alike.", tint(frames, looked[1])
    if why.heat is not None:
        yield f"{why.said_of_heat}.", tint(frames, why.heat)


def draw_heats(folder: Path, predictor: Predictor, answers: Sequence[Answer], whys: Sequence[Explanation]) -> None:
    """A picture of what speaks for the class of each answer, by the name of its clip; standard error says which."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: Counter[str] = Counter()
    for answer, why in zip(answers, whys, strict=True):
        clip, encoder = Path(answer.clip), predictor.learner.method.encoder
        if why.heat is None:
            print(shown(f"{clip}: {encoder.identity} has no patches with a gradient, so no heat"), file=sys.stderr)
            continue
        drawn[clip.stem] += 1
        count = f"_{drawn[clip.stem]}" if drawn[clip.stem] > 1 else ""
        title = f"{clip.name}: {answer.amount(answer.ranking[0][1])} {why.name}"
        figure = draw_heat(predictor.frames(clip), why.heat, title, why.said_of_heat)
        with write_atomically(folder / f"{clip.stem}{count}.png") as part:
            figure.savefig(part, format="png")
        print(shown(f"{folder / clip.stem}{count}.png"), file=sys.stderr)
