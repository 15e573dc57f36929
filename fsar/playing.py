"""Two clips playing along their path: what is matched is seen at the same time, a dot walks over the costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from episodes.files import write_atomically
from fsar.alignment.maps import Cells

PAPER, INK, QUIET, QUERY, SUPPORT = "#ffffff", "#222222", "#6b7280", "#0063a0", "#cf5500"
BIG, CELL, GAP, HEAD = 224, 34, 18, 30  # pixels: a clip, a pair of frames, what is between, the line above
SUFFIXES = (".gif", ".mp4")


def walk(path: Cells, per_pair: int) -> np.ndarray:
    """Places ``(m 2)`` between the pairs of a path, evenly in time: ``per_pair`` for each step, and the last pair."""
    cells = np.array(path, dtype=np.float64)
    share = np.arange(per_pair)[:, None] / per_pair
    between = [a + share * (b - a) for a, b in pairwise(cells)]
    return np.concatenate([*between, cells[-1:]])


def moment(place: float, seen: Sequence[int]) -> int:
    """Which frame of a video stands at a place between the frames that were ``seen``."""
    return round(float(np.interp(place, np.arange(len(seen)), np.asarray(seen, dtype=np.float64))))


def fit(frame: np.ndarray, side: int) -> Image.Image:
    """The middle square of a frame ``(h w c)``; small ones are enlarged by whole pixels alone."""
    width = min(frame.shape[:2])
    top, left = (frame.shape[0] - width) // 2, (frame.shape[1] - width) // 2
    how = Image.Resampling.NEAREST if width < side else Image.Resampling.LANCZOS
    return Image.fromarray(frame[top : top + width, left : left + width]).resize((side, side), how)


def draw_ground(query: np.ndarray, support: np.ndarray, cost: Tensor, words: str) -> Image.Image:
    """What stands still: the costs ``(t u)`` with the seen frames ``(t h w c)``, ``(u h w c)`` along their sides, the
    names of the clips and the line above."""
    t, u = cost.shape
    picture = Image.new("RGB", (2 * BIG + (u + 1) * CELL + 4 * GAP, HEAD + max(BIG + 34, (t + 1) * CELL) + GAP), PAPER)
    draw, values = ImageDraw.Draw(picture), cost.numpy()
    left, top = 2 * BIG + 3 * GAP + CELL, HEAD + CELL
    shade = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    for (i, j), light in np.ndenumerate(60 + 185 * shade**0.5):
        x, y = left + j * CELL, top + i * CELL
        draw.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=(int(light),) * 3)
    for i, frame in enumerate(query):
        picture.paste(fit(frame, CELL - 2), (left - CELL, top + i * CELL))
    for j, frame in enumerate(support):
        picture.paste(fit(frame, CELL - 2), (left + j * CELL, top - CELL))
    font = ImageFont.load_default(14)
    draw.text((GAP, 7), words, fill=INK, font=font)
    draw.text((GAP, HEAD + BIG + 8), "query: down the side", fill=QUERY, font=font)
    draw.text((2 * GAP + BIG, HEAD + BIG + 8), "support: along the top", fill=SUPPORT, font=font)
    return picture


def play(
    query: np.ndarray,
    support: np.ndarray,
    seen: tuple[Sequence[int], Sequence[int]],
    cost: Tensor,
    path: Cells,
    words: str,
    per_pair: int = 4,
) -> list[Image.Image]:
    """The pictures of a film.

    Args:
        query: all its frames ``(t' h w c)``.
        support: all its frames ``(u' h w c)``.
        seen: which frames of the two the costs are of, ``t`` and ``u`` numbers.
        cost: ``(t u)``.
        path: pairs of frames in the order of time.
        words: the line above.
        per_pair: pictures from one pair of the path to the next.
    """
    ground = draw_ground(query[list(seen[0])], support[list(seen[1])], cost, words)
    left, top = 2 * BIG + 3 * GAP + CELL, HEAD + CELL
    centre = [(left + (j + 0.5) * CELL - 1, top + (i + 0.5) * CELL - 1) for i, j in path]
    film = []
    for i, j in walk(path, per_pair):
        picture = ground.copy()
        draw = ImageDraw.Draw(picture)
        draw.line(centre, fill=SUPPORT, width=2)
        x, y = left + (j + 0.5) * CELL - 1, top + (i + 0.5) * CELL - 1
        draw.line((left - CELL, y, x, y), fill=QUERY, width=2)
        draw.line((x, top - CELL, x, y), fill=SUPPORT, width=2)
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=SUPPORT, outline=PAPER, width=2)
        for clip, numbers, place, at in ((query, seen[0], i, GAP), (support, seen[1], j, 2 * GAP + BIG)):
            picture.paste(fit(clip[moment(place, numbers)], BIG), (at, HEAD))
        draw.rectangle((GAP - 2, HEAD - 2, GAP + BIG + 1, HEAD + BIG + 1), outline=QUERY, width=2)
        draw.rectangle((2 * GAP + BIG - 2, HEAD - 2, 2 * GAP + 2 * BIG + 1, HEAD + BIG + 1), outline=SUPPORT, width=2)
        film.append(picture)
    return film


def write_film(film: Sequence[Image.Image], out: Path, rate: int = 10) -> None:
    """Write the pictures as GIF, which rests on the last one and begins again, or as MP4, by the suffix of ``out``.

    Raises:
        ValueError: for another suffix.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{out.name} is to be a film: expected a name that ends in .gif or .mp4.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(out) as part:
        if out.suffix.lower() == ".gif":
            some = [np.array(film[round(share * (len(film) - 1))]) for share in (0, 0.5, 1)]
            palette = Image.fromarray(np.concatenate(some)).quantize(192, dither=Image.Dither.NONE)
            first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in film]
            times = [1000 // rate] * len(others) + [1200]
            first.save(part, "GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=True)
            return
        with av.open(str(part), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
            width, height = film[0].size
            stream.width, stream.height, stream.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
            for picture in film:
                frame = av.VideoFrame.from_ndarray(np.array(picture.crop((0, 0, stream.width, stream.height))), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
