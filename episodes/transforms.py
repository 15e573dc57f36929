"""What is done to the pixels of a clip: one draw per clip, the same for all its frames.

uint8 goes in and uint8 comes out; normalisation is left to the encoder, which knows its own mean and deviation.
Randomness comes from the ``torch.Generator`` handed in. Training and testing take two objects, given in YAML by
``class_path: episodes.transforms.ClipTransform``. As released, CLIP-FSAR squashes to 256x256 bilinearly without
antialiasing, then takes one 224x224 crop, random in training and central in testing::

    ClipTransform(resize="squash", antialias=False, crop="random")   # training
    ClipTransform(resize="squash", antialias=False)                  # test

and adds ``flip=True, jitter=(0.5, 0.5, 0.5, 0.25), grey=0.3`` to the training queries of Kinetics alone. It computes
in floating point throughout; we round to uint8 after resizing, which changes a pixel by half of one level at most.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from episodes.annotations.regions import RegionPrompt
from episodes.framing import Framing, Interpolation, Resize

__all__ = ["ClipTransform", "RegionPrompt"]


class ClipTransform:
    """Resize, crop, and if wanted flip and colour a clip.

    Args:
        size: side of the square that is cut out, pixels; or its (height, width).
        resize: ``short_side`` keeps the aspect ratio, ``squash`` does not (what CLIP-FSAR's code does).
        resize_to: length of the short side, or of both sides, before the crop; or (height, width) with ``squash``.
        crop: where ``size`` is cut out: ``centre``, or ``random``, uniformly.
        antialias: filter before shrinking. Published code mostly does not.
        interpolation: ``bilinear``, or ``bicubic`` as most networks of timm were trained with.
        flip: mirror left and right with probability 1/2. Off, because it turns "moving something from left to right"
            into the opposite class: leave it off for Something-Something and for gestures.
        jitter: how far (brightness, contrast, saturation, hue) may be changed: factors are drawn from
            ``[1 - x, 1 + x]``, the hue shift from ``[-x, x]`` (at most 0.5), and the order of the four is drawn too.
        grey: probability of dropping the colours.

    Raises:
        ValueError: when a value is out of range, or the crop is larger than the resized frame.
    """

    def __init__(
        self,
        size: int | tuple[int, int] = 224,
        resize: Resize = "short_side",
        resize_to: int | tuple[int, int] = 256,
        crop: Literal["centre", "random"] = "centre",
        antialias: bool = True,
        flip: bool = False,
        jitter: tuple[float, float, float, float] | None = None,
        grey: float = 0.0,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        if resize not in ("short_side", "squash") or crop not in ("centre", "random"):
            raise ValueError(
                f"resize must be 'short_side' or 'squash', crop 'centre' or 'random'; found {resize=}, {crop=}."
            )
        if interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation must be 'bilinear' or 'bicubic', found {interpolation!r}.")
        if resize == "short_side" and not isinstance(resize_to, int):
            raise ValueError(f"resize='short_side' takes one number for resize_to, found {resize_to}.")
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        shortest = (resize_to, resize_to) if isinstance(resize_to, int) else (resize_to[0], resize_to[1])
        if min(self.size) < 1 or self.size[0] > shortest[0] or self.size[1] > shortest[1]:
            raise ValueError(
                f"A crop of {self.size} pixels does not fit frames resized to {resize_to}: raise resize_to."
            )
        if jitter is not None and (min(jitter) < 0 or max(jitter[:3]) > 1 or jitter[3] > 0.5):
            raise ValueError(f"jitter must lie in 0..1 for the first three and 0..0.5 for the hue, found {jitter}.")
        if not 0 <= grey <= 1:
            raise ValueError(f"grey is a probability in 0..1, found {grey}.")
        self.resize, self.resize_to, self.crop, self.antialias = resize, resize_to, crop, antialias
        self.flip, self.jitter, self.grey = flip, jitter, grey
        self.interpolation = interpolation

    @property
    def random(self) -> bool:
        """True when the outcome depends on the generator."""
        return self.crop == "random" or self.flip or self.jitter is not None or self.grey > 0

    def __call__(self, clip: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Transform a clip.

        Args:
            clip: ``(t c h w)`` uint8.
            generator: where the draws come from; may be None when nothing is drawn.

        Returns:
            ``(t c *size)`` uint8.

        Raises:
            ValueError: for another dtype or shape, or when a draw is needed and there is no generator.
        """
        if clip.dtype != torch.uint8 or clip.dim() != 4:
            raise ValueError(f"A clip is (t c h w) uint8, found {tuple(clip.shape)} {clip.dtype}.")
        if generator is None and self.random:
            raise ValueError("This transform draws at random: hand in a torch.Generator.")
        clip = self._shrunk(clip)
        clip = self._cropped(clip, generator)
        if self.flip and _draw(0, 1, generator) < 0.5:
            clip = F.horizontal_flip(clip)
        if self.jitter is not None:
            clip = _coloured(clip, self.jitter, generator)
        if self.grey > 0 and _draw(0, 1, generator) < self.grey:
            clip = F.rgb_to_grayscale(clip, num_output_channels=3)
        return clip.contiguous()

    def _shrunk(self, clip: Tensor) -> Tensor:
        size, mode = self._resized(clip.shape[-2], clip.shape[-1]), InterpolationMode(self.interpolation)
        if self.antialias:
            return F.resize(clip, size, mode, antialias=True)
        # torch's own bilinear kernel for uint8 is brighter by a sixth of a level on average; this one is not.
        return F.resize(clip.float(), size, mode, antialias=False).round().clamp(0, 255).to(torch.uint8)

    def _resized(self, height: int, width: int) -> list[int]:
        if not isinstance(self.resize_to, int):
            return list(self.resize_to)
        if self.resize == "squash":
            return [self.resize_to, self.resize_to]
        scale = self.resize_to / min(height, width)
        return [max(self.resize_to, round(height * scale)), max(self.resize_to, round(width * scale))]

    def _cropped(self, clip: Tensor, generator: torch.Generator | None) -> Tensor:
        height, width = self.size
        spare = (clip.shape[-2] - height, clip.shape[-1] - width)
        if self.crop == "random":
            top, left = (int(_draw(0, space + 1, generator)) for space in spare)
        else:
            top, left = spare[0] // 2, spare[1] // 2
        return F.crop(clip, top, left, height, width)


def framed(framing: Framing, crop: Literal["centre", "random"]) -> ClipTransform:
    """What brings a clip into the form that an encoder asks for."""
    return ClipTransform(framing.size, framing.resize, framing.resize_to, crop, interpolation=framing.interpolation)


def _draw(low: float, high: float, generator: torch.Generator | None) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _coloured(clip: Tensor, jitter: tuple[float, float, float, float], generator: torch.Generator | None) -> Tensor:
    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    amounts = [_draw(1 - reach, 1 + reach, generator) for reach in jitter[:3]]
    shift = _draw(-jitter[3], jitter[3], generator)
    for step in torch.randperm(4, generator=generator).tolist():
        clip = changes[step](clip, amounts[step]) if step < 3 else F.adjust_hue(clip, shift)
    return clip
