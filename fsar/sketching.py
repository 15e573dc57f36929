"""A frame as a few strokes that a network takes for the frame: what it saw, without what it did not need.

Vinker et al. 2022, "CLIPasso: Semantically-Aware Object Sketching", https://arxiv.org/abs/2202.05822. n cubic Bézier
strokes of four points each are moved until the features of the sketch S are those of the picture I::

    L = Σ_l mean (Φ_l(I) - Φ_l(S))² + 0.1 (1 - cos(φ(I), φ(S)))

over the plain pair and pairs that are shifted and cut alike; Φ_l are ResNet's layers 2 and 3, φ the pooled feature. The
paper draws with an external rasteriser; here ink falls off softly with the distance to the nearest point of a stroke::

    ink(pixel) = max over strokes exp(-(distance / width)²);   S = 1 - ink
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from episodes.files import write_atomically
from fsar.terminal.shown import shown

See = Callable[[Tensor], tuple[Sequence[Tensor], Tensor]]
"""Pictures ``(b 3 s s)`` in 0..1 to maps ``(b ...)`` of some layers and pooled features ``(b d)``."""

POINTS = 24
"""Of a stroke that distances are taken to."""


@dataclass(frozen=True)
class Sketch:
    """Strokes and how well they stand for the picture.

    Args:
        strokes: ``(n 4 2)`` control points (x, y) in pixels.
        size: height and width of the picture, pixels.
        width: of the strokes, pixels.
        losses: of every step, the last included.
    """

    strokes: Tensor
    size: int
    width: float
    losses: tuple[float, ...]

    def picture(self) -> Tensor:
        """``(s s)`` in 0..1, black on white."""
        return draw_strokes(self.strokes, self.size, self.width)

    def svg(self, title: str = "sketch") -> str:
        """The strokes as an SVG file's text."""
        paths = []
        for stroke in self.strokes.tolist():
            (ax, ay), (bx, by), (cx, cy), (dx, dy) = stroke
            paths.append(f'<path d="M {ax:.2f} {ay:.2f} C {bx:.2f} {by:.2f}, {cx:.2f} {cy:.2f}, {dx:.2f} {dy:.2f}"/>')
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.size} {self.size}" fill="none" '
            f'stroke="black" stroke-width="{1.5 * self.width:.2f}" stroke-linecap="round">'
            f"<title>{html.escape(shown(title))}</title>{''.join(paths)}</svg>\n"
        )

    def write(self, path: Path, title: str = "sketch") -> None:
        """To ``.svg``, or as pixels to ``.png`` at 4 times the size."""
        if path.suffix.lower() == ".svg":
            with write_atomically(path) as part:
                part.write_text(self.svg(title), encoding="utf-8")
            return
        from PIL import Image, ImageDraw

        finer = 3  # than the picture that is written: its edges are then soft
        scale, page = 4 * finer, Image.new("L", (4 * finer * self.size,) * 2, 255)
        pen, thickness = ImageDraw.Draw(page), max(1, round(1.5 * self.width * scale))
        for curve in (scale * sample_curves(self.strokes.cpu(), 100)).tolist():
            pen.line([tuple(point) for point in curve], 0, thickness, "curve")
            for x, y in (curve[0], curve[-1]):  # round ends
                pen.ellipse([x - thickness / 2, y - thickness / 2, x + thickness / 2, y + thickness / 2], 0)
        with write_atomically(path) as part:
            page.resize((4 * self.size,) * 2, Image.Resampling.BOX).save(part, "PNG")


def sample_curves(strokes: Tensor, points: int = POINTS) -> Tensor:
    """Points along cubic Bézier curves: ``(n 4 2)`` to ``(n points 2)``."""
    u = torch.linspace(0, 1, points, dtype=strokes.dtype, device=strokes.device)
    weights = torch.stack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u**2 * (1 - u), u**3], -1)
    return weights @ strokes


def draw_strokes(strokes: Tensor, size: int, width: float = 1.5) -> Tensor:
    """Black strokes ``(n 4 2)`` on white, ``(size size)`` in 0..1, with gradients to the control points."""
    along = torch.arange(size, dtype=strokes.dtype, device=strokes.device) + 0.5
    curves = sample_curves(strokes)
    across, down = (
        ((along[:, None, None] - curves[..., axis]) ** 2) for axis in (0, 1)
    )  # (size n points), columns and rows
    nearest = (down[:, None] + across[None]).flatten(2).amin(-1)  # (size size)
    return 1 - torch.exp(-nearest / width**2)


def sketch_loss(
    sketch: tuple[Sequence[Tensor], Tensor], picture: tuple[Sequence[Tensor], Tensor], pooled_weight: float = 0.1
) -> dict[str, Tensor]:
    """The loss between what a network sees in a sketch and in a picture.

    Args:
        sketch: maps ``(b ...)`` of some layers, and pooled features ``(b d)``.
        picture: likewise, the same shapes.
        pooled_weight: of the pooled features' term.

    Returns:
        ``loss``, and in it ``layers (l)`` and ``pooled``, already weighed.
    """
    layers = torch.stack([(a - b).square().mean() for a, b in zip(sketch[0], picture[0], strict=True)])
    pooled = pooled_weight * (1 - torch.cosine_similarity(sketch[1], picture[1], dim=-1)).mean()
    return {"loss": layers.sum() + pooled, "layers": layers, "pooled": pooled}


def find_edges(picture: Tensor) -> Tensor:
    """``(3 s s)`` to how much changes at each pixel, ``(s s)``, adding up to 1."""
    grey = picture.mean(0)
    down = torch.nn.functional.pad((grey[2:] - grey[:-2]).abs(), (0, 0, 1, 1))
    across = torch.nn.functional.pad((grey[:, 2:] - grey[:, :-2]).abs(), (1, 1))
    edges = down + across + 1e-6
    return edges / edges.sum()


def start_strokes(saliency: Tensor, count: int, generator: torch.Generator, reach: float = 0.05) -> Tensor:
    """``(n 4 2)``: short strokes that begin where ``saliency (s s)`` is large, no two at one pixel."""
    size = saliency.shape[-1]
    chosen = torch.multinomial(saliency.flatten(), count, generator=generator)
    first = torch.stack([chosen % size, chosen // size], -1) + 0.5
    steps = (torch.rand(count, 3, 2, generator=generator) - 0.5) * 2 * reach * size
    return torch.cat([first[:, None], first[:, None] + steps.cumsum(1)], 1)


def shift_alike(pair: Tensor, generator: torch.Generator, smallest: float = 0.8) -> Tensor:
    """Both pictures ``(2 3 s s)`` turned in perspective and cut by the same draw: ``(2 3 s s)``."""
    scale = smallest + (1 - smallest) * float(torch.rand((), generator=generator))
    move = (torch.rand(2, generator=generator) * 2 - 1) * (1 - scale)
    skew = (torch.rand(2, 2, generator=generator) * 2 - 1) * 0.1
    turn = (torch.eye(2) + skew) * scale
    grid = torch.nn.functional.affine_grid(
        torch.cat([turn, move[:, None]], 1).to(pair).expand(2, 2, 3), list(pair.shape), align_corners=False
    )
    white = 1 - pair  # what lies outside is white paper
    return 1 - torch.nn.functional.grid_sample(white, grid, align_corners=False)


def sketch_picture(
    picture: Tensor,
    see: See,
    strokes: int = 16,
    steps: int = 2000,
    width: float = 1.5,
    rate: float = 1.0,
    augmentations: int = 4,
    seed: int = 0,
    saliency: Tensor | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Sketch:
    """Strokes that the network takes for the picture.

    Args:
        picture: ``(3 s s)`` in 0..1.
        see: the network; its weights get no gradient.
        strokes: how many.
        steps: of Adam.
        width: of a stroke, pixels.
        rate: Adam's, pixels.
        augmentations: pairs that are shifted alike, beside the plain one.
        seed: of the start and of the shifts.
        saliency: ``(s s)`` where strokes begin; where the picture changes when not given.
        progress: told the step and the loss.

    Raises:
        ValueError: for a picture of another shape, or numbers below 1.
        FloatingPointError: when the loss is not finite.
    """
    if picture.dim() != 3 or picture.shape[0] != 3 or picture.shape[1] != picture.shape[2]:
        raise ValueError(f"a picture to sketch is (3 s s), square and in colour; found {tuple(picture.shape)}.")
    if strokes < 1 or steps < 1 or not width > 0 or augmentations < 0:
        raise ValueError(f"{strokes=} and {steps=} must be at least 1, {width=} above 0, {augmentations=} at least 0.")
    generator, size = torch.Generator().manual_seed(seed), picture.shape[-1]
    start = start_strokes(find_edges(picture) if saliency is None else saliency, strokes, generator)
    points = start.to(picture).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=rate)
    losses = []
    for step in range(steps):
        drawn = draw_strokes(points, size, width).expand(3, -1, -1)
        pair = torch.stack([drawn, picture])
        pairs = torch.stack([pair, *(shift_alike(pair, generator) for _ in range(augmentations))], 1)
        with torch.no_grad():
            aim = see(pairs[1])
        loss = sketch_loss(see(pairs[0]), aim)["loss"]
        if not bool(loss.isfinite()):
            raise FloatingPointError(
                f"the loss of the sketch is {float(loss.detach())} at step {step}: are the features finite?"
            )
        optimizer.zero_grad()
        (points.grad,) = torch.autograd.grad(loss, [points])
        optimizer.step()
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(step, losses[-1])
    return Sketch(points.detach(), size, width, tuple(losses))
