"""Sketches of frames under an encoder: which of its layers are looked at, and which frame of a clip is worth it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from episodes.clips import Streams
from fsar.alignment.maps import FrameMap
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.blocks import blocks_of
from fsar.encoders.tower.heat import heat_of
from fsar.sketching import See, Sketch, find_edges, sketch_picture


def choose_layers(encoder: FrameEncoder) -> tuple[str, str]:
    """Those in the middle and at three quarters of the tower's depth: layers 2 and 3 of a ResNet's four, as published.

    Raises:
        ValueError: for an encoder whose layers are not known.
    """
    encoder.check_needs(("layers",), "a sketch")
    count = len(blocks_of(encoder.visual))
    return f"layer {-(-count // 2)}", f"layer {-(-3 * count // 4)}"


def see_through(encoder: FrameEncoder) -> See:
    """Pictures ``(b 3 s s)`` to the maps of :func:`choose_layers` and the pooled features."""
    layers = choose_layers(encoder)

    def see(pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        found = encoder.features(Streams(frames=pictures), (*layers, "frames"))
        return [found[layer] for layer in layers], found["frames"]

    return see


def prepare_picture(frame: np.ndarray, encoder: FrameEncoder) -> Tensor:
    """The middle square of a frame ``(h w 3)``, uint8, at the encoder's size: ``(3 s s)`` in 0..1."""
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    square = torch.from_numpy(frame[top : top + side, left : left + side].copy()).movedim(-1, 0)[None].float() / 255
    size = (encoder.image_size,) * 2
    picture = torch.nn.functional.interpolate(square, size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    return picture.to(next(encoder.visual.parameters()).device)


def sketch_frame(
    frame: np.ndarray,
    encoder: FrameEncoder,
    strokes: int = 16,
    steps: int = 2000,
    augmentations: int = 4,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Sketch:
    """Strokes that the encoder takes for a frame.

    They begin at edges, most where the encoder looks (:func:`fsar.encoders.tower.heat.heat_of`).

    Args:
        frame: ``(h w 3)`` uint8.
        encoder: frozen for this; its ``layers`` are looked at.
        strokes: how many.
        steps: of Adam.
        augmentations: see :func:`fsar.sketching.sketch_picture`, and so are the others.
        seed: likewise.
        progress: likewise.
    """
    picture, see = prepare_picture(frame, encoder), see_through(encoder)
    where = find_edges(picture)
    if looked := heat_of(encoder, picture[None]):
        heat = torch.nn.functional.interpolate(looked[1][None], picture.shape[-2:], mode="bilinear")[0, 0]
        where = where * (heat.to(where) + 0.1)
    width = max(1.0, picture.shape[-1] / 150)
    return sketch_picture(
        picture, see, strokes, steps, width, picture.shape[-1] / 224, augmentations, seed, where.cpu(), progress
    )


def telling_frame(found: FrameMap) -> int:
    """The frame of the clip, from 0, that has the largest share of the expected alignment."""
    return int(found.path.sum(1).argmax())
