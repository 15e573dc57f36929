"""One draw per clip, no global randomness, the published variants."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from episodes.transforms import ClipTransform


def _clip(height: int = 120, width: int = 160, t: int = 4) -> Tensor:
    return torch.randint(0, 256, (t, 3, height, width), dtype=torch.uint8)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


EVERYTHING: dict[str, Any] = {"crop": "random", "flip": True, "jitter": (0.5, 0.5, 0.5, 0.25), "grey": 0.3}
VARIANTS = [{}, {"resize": "squash", "antialias": False}, EVERYTHING, EVERYTHING | {"resize": "squash"}]


@pytest.mark.parametrize("arguments", VARIANTS)
@pytest.mark.parametrize("shape", [(120, 160), (160, 90), (64, 64), (300, 41)])
def test_shape_and_dtype(arguments: dict[str, Any], shape: tuple[int, int]) -> None:
    out = ClipTransform(48, resize_to=64, **arguments)(_clip(*shape), _generator())
    assert out.shape == (4, 3, 48, 48)
    assert out.dtype == torch.uint8
    assert out.is_contiguous()


@pytest.mark.parametrize("arguments", VARIANTS)
def test_all_frames_are_treated_alike(arguments: dict[str, Any]) -> None:
    frame, transform = _clip(t=1), ClipTransform(48, resize_to=64, **arguments)
    for seed in range(20):
        out = transform(frame.expand(5, -1, -1, -1), _generator(seed))
        assert (out == out[:1]).all()


def test_draws_come_from_the_generator_alone() -> None:
    clip, transform = _clip(), ClipTransform(48, resize_to=64, **EVERYTHING)
    before = torch.get_rng_state()
    outs = [transform(clip, _generator(seed)) for seed in (0, 0, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    assert not torch.equal(outs[2], outs[3])


def test_centre_crop_of_the_short_side() -> None:
    clip = _clip(64, 100)  # already 64 short: resizing changes nothing
    out = ClipTransform(48, resize_to=64)(clip)
    assert torch.equal(out, clip[..., 8:56, 26:74])


def test_random_crop_reaches_every_place() -> None:
    places = torch.arange(64 * 70).remainder(251).to(torch.uint8).reshape(1, 1, 64, 70).expand(1, 3, -1, -1)
    windows = {
        tuple(places[0, 0, top, left : left + 60].tolist()): (top, left) for top in range(5) for left in range(11)
    }
    transform = ClipTransform(60, resize_to=64, crop="random")
    seen = {windows[tuple(transform(places, _generator(seed))[0, 0, 0].tolist())] for seed in range(600)}
    assert seen == {(top, left) for top in range(5) for left in range(11)}


def test_flip_is_off_unless_asked_for() -> None:
    clip = _clip(64, 64)
    assert torch.equal(ClipTransform(64, resize_to=64)(clip), clip)
    flipped = [ClipTransform(64, resize_to=64, flip=True)(clip, _generator(seed)) for seed in range(40)]
    kinds = [torch.equal(out, clip) or -torch.equal(out, clip.flip(-1)) for out in flipped]
    assert set(kinds) == {True, -1}
    assert 8 < kinds.count(True) < 32


def test_published_resize() -> None:
    """Squash without antialias is plain bilinear interpolation, to the nearest of 256 levels."""
    clip = _clip(120, 160)
    out = ClipTransform(64, resize="squash", resize_to=64, antialias=False)(clip)
    expected = interpolate(clip.double(), (64, 64), mode="bilinear", align_corners=False, antialias=False)
    assert (out.double() - expected).abs().max() <= 0.501
    assert (out.double() - expected).mean().abs() < 0.05
    smoothed = ClipTransform(64, resize="squash", resize_to=64, antialias=True)(clip)
    assert (smoothed.double() - expected).abs().max() > 20


def test_rectangles() -> None:
    out = ClipTransform((256, 320), resize="squash", resize_to=(256, 320))(_clip(60, 80, t=1))
    assert out.shape == (1, 3, 256, 320)


def test_colours() -> None:
    clip = _clip(32, 32)
    grey = ClipTransform(32, resize_to=32, grey=1.0)(clip, _generator())
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert torch.equal(grey[:, 0], grey[:, 2])
    same = ClipTransform(32, resize_to=32, jitter=(0.0, 0.0, 0.0, 0.0))(clip, _generator())
    assert (same.int() - clip.int()).abs().max() <= 2  # through HSV and back
    flat = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    bright = [
        int(ClipTransform(32, resize_to=32, jitter=(0.5, 0, 0, 0))(flat, _generator(seed))[0, 0, 0, 0])
        for seed in range(60)
    ]
    assert 49 <= min(bright) < 70
    assert 130 < max(bright) <= 150


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 300}, "does not fit"),
        ({"resize": "stretch"}, "'squash'"),
        ({"crop": "center"}, "'centre'"),
        ({"resize_to": (256, 320)}, "one number"),
        ({"jitter": (0.5, 0.5, 0.5, 0.7)}, "hue"),
        ({"grey": 2.0}, "probability"),
    ],
)
def test_refused_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipTransform(**arguments)


def test_refused_clips() -> None:
    with pytest.raises(ValueError, match=r"uint8, found \(4, 3, 120, 160\) torch.float32"):
        ClipTransform()(_clip().float())
    with pytest.raises(ValueError, match=r"torch\.Generator"):
        ClipTransform(crop="random")(_clip())
