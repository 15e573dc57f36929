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
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from episodes.annotations.regions import RegionPrompt
from episodes.framing import Framing, Interpolation, Resize

__all__ = ["ClipTransform", "RegionPrompt", "StrongTransform"]


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
        self.resize, self.resize_to, self.antialias = resize, resize_to, antialias
        self.crop: str = crop  # or start or end of the longer side, see episodes.views
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
        if self.crop in ("start", "end"):  # of the longer side
            tall, far = clip.shape[-2] > clip.shape[-1], self.crop == "end"
            top, left = (far * spare[0], left) if tall else (top, far * spare[1])
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


class StrongTransform(ClipTransform):
    """:class:`ClipTransform` with what recipes of large networks add: crops of several scales, RandAugment, erasing.

    Args:
        size: as there, and so is all up to ``interpolation``; ``crop`` is not read where ``scales`` are given.
        scales: shares of the short side; the height and the width of the crop are drawn of them, at most one step
            apart, its place of 13 (corners, middles, quarters), and it is resized to ``size``: TSN's corner cropping
            with scale jitter (Wang et al. 2016, https://arxiv.org/abs/1608.00859), in ActionCLIP's training
            ``[1, 0.875, 0.75, 0.66]``.
        rand_augment: number of operations and their magnitude out of 30, such as ``[2, 9]``
            (Cubuk et al. 2020, https://arxiv.org/abs/1909.13719; torchvision's).
        erase: probability of blackening a rectangle of 2 to 33 % of the frame (Zhong et al. 2020,
            https://arxiv.org/abs/1708.04896).

    Raises:
        ValueError: likewise, and for scales outside of 0..1, a magnitude above 30 or a probability that is none.

    >>> transform = StrongTransform(32, resize_to=40, scales=[1, 0.75], rand_augment=[2, 9], erase=0.5)
    >>> transform(torch.zeros(8, 3, 60, 80, dtype=torch.uint8), torch.Generator().manual_seed(0)).shape
    torch.Size([8, 3, 32, 32])
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
        scales: list[float] | None = None,
        rand_augment: tuple[int, int] | None = None,
        erase: float = 0.0,
    ) -> None:
        super().__init__(size, resize, resize_to, crop, antialias, flip, jitter, grey, interpolation)
        if scales is not None and not all(0 < scale <= 1 for scale in scales or [0.0]):
            raise ValueError(f"scales are shares of the short side in 0..1, found {scales}.")
        if rand_augment is not None and not (rand_augment[0] >= 1 and 0 <= rand_augment[1] <= 30):
            raise ValueError(f"rand_augment is a number of operations and a magnitude in 0..30, found {rand_augment}.")
        if not 0 <= erase <= 1:
            raise ValueError(f"erase is a probability in 0..1, found {erase}.")
        self.scales, self.rand_augment, self.erase = scales, rand_augment, erase

    @property
    def random(self) -> bool:
        return super().random or bool(self.scales or self.rand_augment or self.erase)

    def __call__(self, clip: Tensor, generator: torch.Generator | None = None) -> Tensor:
        clip = super().__call__(clip, generator)
        steps: list[torch.nn.Module] = [] if self.rand_augment is None else [v2.RandAugment(*self.rand_augment)]
        steps += [v2.RandomErasing(self.erase)] if self.erase else []
        if steps:
            with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator, once for the clip
                torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                for step in steps:
                    clip = step(clip)
        return clip.contiguous()

    def _cropped(self, clip: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.scales:
            return super()._cropped(clip, generator)
        height, width = clip.shape[-2:]
        steps = range(len(self.scales))
        pairs = [(a, b) for a in steps for b in steps if abs(a - b) <= 1]
        sides = [round(min(height, width) * self.scales[i]) for i in pairs[int(_draw(0, len(pairs), generator))]]
        y, x = PLACES[int(_draw(0, len(PLACES), generator))]
        top, left = y * (height - sides[0]) // 4, x * (width - sides[1]) // 4
        cut = F.crop(clip, top, left, sides[0], sides[1])
        return F.resize(cut, list(self.size), InterpolationMode(self.interpolation), antialias=True)


PLACES = (*((y, x) for y in (0, 2, 4) for x in (0, 2, 4)), *((y, x) for y in (1, 3) for x in (1, 3)))
"""Where a crop may stand, in quarters of the room that it has."""
