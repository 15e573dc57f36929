"""Shifts of a clip: functions of ``(frames, severity, generator)``, by name.

``frames (t c h w)`` are uint8 as the encoder would see them, after resizing and cropping; what comes back has the same
shape and dtype. ``severity`` is one of the shift's own numbers, whose unit its row in :data:`SHIFTS` names.
``generator`` is seeded by the video alone, so that every severity draws the same noise. ``slow`` is the one that other
frames are read for, and ``pgd`` the one that looks at the encoder (:mod:`fsar.evaluation.shifts.attack`).

One of a user's own is such a function, named by its import path::

    def flicker(frames, severity, generator):  # in mine.py: fsar robustness RUN --shifts mine.flicker --severities 0.5
        ...
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional as F

from episodes.dataset import Transform
from episodes.frames import FrameSampler, Indices, segment_centre

Change = Callable[[Tensor, float, torch.Generator], Tensor]


class Shift(NamedTuple):
    """A row of the table.

    Attributes:
        change: the function; None where pixels stay as they are read.
        severities: from mild to harsh.
        unit: what a severity is.
    """

    change: Change | None
    severities: tuple[float, ...]
    unit: str


def drop_frames(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """This share of the frames is lost, the first never; the last one that came is shown in its place."""
    t = len(frames)
    lost = 1 + torch.randperm(t - 1, generator=generator)[: round(severity * (t - 1))]
    kept = torch.arange(t)
    kept[lost] = 0
    return frames[kept.cummax(0).values]


def hold_frames(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Recorded at a rate that many times lower: every frame stands still until the next one that was recorded."""
    step = int(severity)
    return frames[torch.arange(len(frames)) // step * step]


def reverse(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Backwards."""
    return frames.flip(0)


def shuffle(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """This share of the frames, two at least, change places among one another."""
    t = len(frames)
    moved = torch.randperm(t, generator=generator)[: max(2, round(severity * t))]
    order = torch.arange(t)
    order[moved] = moved.roll(1)  # the permutation is random, and so is the cycle: none keeps its place
    return frames[order]


def blur(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Gaussian; the deviation is in pixels of a frame of 224, as large in smaller ones as a share of the frame."""
    sigma = severity * min(frames.shape[-2:]) / 224
    size = 2 * max(1, round(3 * sigma)) + 1
    largest = 2 * min(frames.shape[-2:]) - 1
    return F.gaussian_blur(frames, [min(size, largest)] * 2, [sigma] * 2)


def add_noise(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Gaussian, of every pixel and frame anew."""
    noise = torch.randn(frames.shape, generator=generator)
    return (frames + severity * noise).round().clamp(0, 255).to(torch.uint8)


def compress(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Every frame as a JPEG file of that quality and back."""
    found = []
    for frame in frames.movedim(-3, -1).numpy():
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=int(severity))
        found.append(torch.from_numpy(np.array(Image.open(file).convert("RGB"))))
    return torch.stack(found).movedim(-1, -3).contiguous()


def crop(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A window with sides of this share, anywhere but the same in all frames, at full size again."""
    h, w = frames.shape[-2:]
    rows, columns = max(1, round(severity * h)), max(1, round(severity * w))
    top, left = (
        int(torch.randint(whole - part + 1, (), generator=generator)) for whole, part in ((h, rows), (w, columns))
    )
    window = frames[..., top : top + rows, left : left + columns].float()
    large = interpolate(window, (h, w), mode="bilinear", align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)


def grey(frames: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """This share of the colour is lost."""
    plain = F.rgb_to_grayscale(frames, num_output_channels=3)
    return torch.lerp(frames.float(), plain.float(), severity).round().to(torch.uint8)


SLOW, ATTACK = "slow", "pgd"
SHIFTS: dict[str, Shift] = {
    "drop": Shift(drop_frames, (0.25, 0.5, 0.75), "share of the frames"),
    "hold": Shift(hold_frames, (2, 4, 8), "times fewer frames a second"),
    SLOW: Shift(None, (1.5, 2, 4), "times slower, the middle of the action"),
    "reverse": Shift(reverse, (1,), "backwards"),
    "shuffle": Shift(shuffle, (0.25, 0.5, 1), "share of the frames"),
    "blur": Shift(blur, (2, 4, 8), "deviation, pixels of 224"),
    "noise": Shift(add_noise, (10, 25, 50), "deviation, 1/255"),
    "compress": Shift(compress, (30, 15, 5), "quality of JPEG"),
    "crop": Shift(crop, (0.8, 0.6, 0.4), "share of a side"),
    "grey": Shift(grey, (0.5, 1), "share of the colour"),
    ATTACK: Shift(None, (1, 2, 4), "epsilon, 1/255"),
}
"""By name: of time first, then of pixels, then the attack."""


def find_shift(name: str, severities: Sequence[float] | None = None) -> Shift:
    """The shift of that name, or of that import path, with these severities in place of its own.

    Raises:
        ValueError: for a name that is neither; one of a user's own without severities; a severity out of range.
    """
    if name in SHIFTS:
        shift = SHIFTS[name]
    else:
        if not severities:
            raise ValueError(f"--shifts {name}: a shift of your own has no severities; name them with --severities.")
        shift = Shift(_import(name), (), "severity")
    if severities:
        shift = shift._replace(severities=tuple(severities))
    for severity in shift.severities:
        _check(name, severity)
    return shift


def _import(path: str) -> Change:
    module, _, function = path.rpartition(".")
    try:
        found: Change = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"--shifts {path} is none of {', '.join(SHIFTS)}, and cannot be imported ({error}). One of your own is "
            "module.function, from the folder of the module."
        ) from error
    return found


WHOLE = ("hold", "compress", ATTACK)
LIMITS = {"drop": 1.0, "shuffle": 1.0, "crop": 1.0, "grey": 1.0, "compress": 95.0}
LEAST = {SLOW: 1.0}


def _check(name: str, severity: float) -> None:
    if name not in SHIFTS:
        return
    low, high = LEAST.get(name, 0.0), LIMITS.get(name, float("inf"))
    if not 0 < severity <= high or severity < low or (name in WHOLE and severity % 1):
        bounds = f"{low:g} or more" if low else "above 0"
        raise ValueError(
            f"severity {severity:g} of {name} ({SHIFTS[name].unit}) must be a {'whole ' * (name in WHOLE)}number "
            f"{bounds}{f', {high:g} at most' if name in LIMITS else ''}."
        )


class Middle(FrameSampler):
    """The middle part of a video alone, chosen from as a sampler would from all of it: filmed that many times faster,
    and so shown that many times slower. Frames are shown again, evenly, where the part has fewer than are asked for.

    Args:
        sampler: chooses from the part.
        times: 1 over the share of the video that it is.

    Examples:
        >>> from episodes.frames import SegmentCentre
        >>> Middle(SegmentCentre(), 2)(frames=100, t=4).tolist()
        [31, 43, 56, 68]
    """

    def __init__(self, sampler: FrameSampler, times: float) -> None:
        super().__init__()
        self.sampler, self.times, self.random = sampler, times, sampler.random

    def __call__(self, frames: int, t: int, generator: np.random.Generator | None = None, fps: float = 0.0) -> Indices:
        part = max(1, round(frames / self.times))
        first = (frames - part) // 2
        if part < t:
            return first + segment_centre(part, t)
        return first + self.sampler(part, t, generator, fps)


class Shifted:
    """A transform, and then a shift: what a data set applies to a clip.

    Args:
        transform: of the clip, to the size of the encoder.
        change: the shift.
        severity: one of its own numbers.
        name: what a message calls it.
    """

    random = True  # what it gives is no clip as evaluation reads it: nothing of it is kept in a cache

    def __init__(self, transform: Transform, change: Change, severity: float, name: str) -> None:
        self.transform, self.change, self.severity, self.name = transform, change, severity, name
        self.size = getattr(transform, "size", None)

    def __call__(self, clip: Tensor, generator: torch.Generator) -> Tensor:
        """``(t c h w)`` uint8.

        Raises:
            ValueError: when the shift gives anything else.
        """
        frames = self.transform(clip, generator)
        changed: Tensor = self.change(frames, self.severity, generator)
        wanted = tuple(frames.shape)
        if not isinstance(changed, Tensor) or changed.dtype != torch.uint8 or tuple(changed.shape) != wanted:
            found = f"{tuple(changed.shape)} {changed.dtype}" if isinstance(changed, Tensor) else type(changed).__name__
            raise ValueError(f"shift {self.name} must give frames {wanted} torch.uint8, it gave {found}.")
        return changed
