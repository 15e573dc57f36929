"""Boxes of colour over the frames of a clip, so that a text can speak of what stands in them.

Yao et al. 2021, "CPT: Colorful Prompt Tuning for Pre-trained Vision-Language Models", https://arxiv.org/abs/2109.11797:
a half-transparent colour marks a region, and the text names the colour. (Continuous prompts are another thing: CoOp.)
The boxes are the user's, from a tracker or drawn by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

COLOURS = {"red": (250, 0, 45), "green": (100, 250, 0), "blue": (0, 40, 250)}
"""As released, RGB."""


class RegionPrompt:
    """Blends a colour over boxes of a clip, the same on all frames unless each frame has its own.

    Args:
        colour: red, green or blue as released, or (red, green, blue) in 0..255.
        alpha: share of the colour; 120/255 as released.
        template: what the text side says, with ``{}`` for the name.

    Raises:
        ValueError: an unknown colour, or an alpha outside 0..1.

    Examples:
        >>> prompt = RegionPrompt("green")
        >>> prompt(torch.zeros(2, 3, 24, 32, dtype=torch.uint8), [5, 4, 20, 18])[0, :, 4, 5]
        tensor([ 47, 118,   0], dtype=torch.uint8)
        >>> prompt.template.format("juggling")
        'juggling, marked in green'
    """

    def __init__(
        self,
        colour: str | tuple[int, int, int] = "red",
        alpha: float = 120 / 255,
        template: str | None = None,
    ) -> None:
        if isinstance(colour, str) and colour not in COLOURS:
            raise ValueError(f"RegionPrompt: colour is one of {', '.join(COLOURS)} or three numbers, found {colour!r}.")
        rgb = COLOURS[colour] if isinstance(colour, str) else tuple(colour)
        if len(rgb) != 3 or not all(0 <= x <= 255 for x in rgb):
            raise ValueError(f"RegionPrompt: a colour is three numbers in 0..255, found {colour!r}.")
        if not 0 <= alpha <= 1:
            raise ValueError(f"RegionPrompt: alpha must lie in 0..1, found {alpha}.")
        self.rgb, self.alpha = rgb, alpha
        self.template = template or f"{{}}, marked in {colour if isinstance(colour, str) else 'colour'}"

    def __call__(self, clip: Tensor, boxes: Tensor | Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
        """The clip with its boxes tinted.

        Args:
            clip: ``(t c h w)`` uint8.
            boxes: ``(4)``, ``(n 4)`` for all frames, or ``(t n 4)``: x1 y1 x2 y2 in pixels; x2 and y2 are outside. NaN
                for a frame without that box.

        Returns:
            ``(t c h w)`` uint8; a pixel in several boxes is tinted once.

        Raises:
            ValueError: for boxes of another shape or length, empty, or outside the frame.
        """
        t, _, h, w = clip.shape
        inside = mark_boxes(torch.as_tensor(boxes, dtype=torch.float32), t, h, w)
        colour = torch.tensor(self.rgb, dtype=torch.float32)[:, None, None]
        tinted = ((1 - self.alpha) * clip.float() + self.alpha * colour).round().clamp(0, 255).to(torch.uint8)
        return torch.where(inside[:, None], tinted, clip)


def mark_boxes(boxes: Tensor, frames: int, height: int, width: int) -> Tensor:
    """``(t h w)`` bool, true inside a box; see :meth:`RegionPrompt.__call__`."""
    if boxes.dim() == 0 or boxes.dim() > 3 or boxes.shape[-1] != 4:
        raise ValueError(f"boxes must be (4), (n 4) or (t n 4), x1 y1 x2 y2 in pixels; found {tuple(boxes.shape)}.")
    boxes = boxes.reshape(-1, 4)[None] if boxes.dim() < 3 else boxes
    if len(boxes) not in (1, frames):
        raise ValueError(f"boxes of {len(boxes)} frames for a clip of {frames}: give one set for all, or one a frame.")
    there = ~boxes.isnan().any(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    bad = there & ~((x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height) & (x1 < x2) & (y1 < y2))
    if bool(bad.any()):
        raise ValueError(
            f"box {boxes[bad][0].tolist()} does not lie in a frame of {width} x {height} pixels (width x height), or "
            "is empty: x1 < x2 and y1 < y2 in pixels of the video as it is stored."
        )
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    x1, y1, x2, y2 = (side[..., None, None].nan_to_num(-1) for side in (x1, y1, x2, y2))
    return ((x >= x1) & (x < x2) & (y >= y1) & (y < y2)).any(1).expand(frames, -1, -1)


def read_boxes(path: Path) -> Tensor:
    """Boxes of one clip from a ``.json`` (nested lists, null for a missing box) or ``.npy`` file.

    Raises:
        ValueError: for another suffix, or when the file holds something else; it names the file.
    """
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
        if path.suffix == ".json":
            return torch.tensor(_fill(json.loads(path.read_text("utf-8"))), dtype=torch.float32)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: no boxes can be read from it ({error}); it must hold (4), (n 4) or (t n 4)."
        ) from None
    raise ValueError(f"{path}: boxes are read from .json and .npy files.")


def _fill(boxes: list[object]) -> list[object]:
    return [[float("nan")] * 4 if b is None else _fill(b) if isinstance(b, list) else b for b in boxes]
