"""Towers in int8: what is computed, what depends on what, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsar.adapters import AIM, Ladder
from fsar.encoders import Adapted, Beside, ClipEncoder, ImageEncoder, VideoEncoder
from fsar.encoders.tower.precision import Int8Attention, Int8Linear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def by_hand(layer: Int8Linear, x: Tensor) -> Tensor:
    """One frame, in float64: the numbers between the least and the largest, in 254 steps."""
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    step = (high - low) / 254
    near = step * ((x.double() / step + round(-low / step)).round() - round(-low / step))
    weight = layer.weight.double() * layer.scale.double()[:, None]
    return near @ weight.T + (0 if layer.bias is None else layer.bias.double())


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_is_what_rounding_says(shift: float, bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(24, 10, bias=bias), torch.randn(3, 5, 24) + shift
    layer = Int8Linear(linear.weight, linear.bias)
    wanted = torch.stack([by_hand(layer, each) for each in x]).float()
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-4 * wanted.abs().max().item())
    assert (layer.weight.double() * layer.scale.double()[:, None] - linear.weight).abs().max() <= layer.scale.max() / 2


def test_sums_of_the_largest_numbers_do_not_saturate() -> None:
    layer = Int8Linear(torch.ones(4, 64), None)
    torch.testing.assert_close(layer(torch.ones(1, 3, 64)), torch.full((1, 3, 4), 64.0))


def test_a_frame_does_not_depend_on_those_beside_it() -> None:
    torch.manual_seed(0)
    layer, x = Int8Linear(torch.randn(8, 16), torch.randn(8)), torch.randn(3, 5, 16)
    x[2] *= 1000
    assert torch.equal(layer(x)[:1], layer(x[:1]))
    x[1, 0, 0] = torch.nan
    assert layer(x)[1].isnan().all()
    assert layer(x)[[0, 2]].isfinite().all()


def test_zeros_stay_zero() -> None:
    assert torch.equal(Int8Linear(torch.randn(8, 16), None)(torch.zeros(1, 2, 16)), torch.zeros(1, 2, 8))


ENCODERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "the toy": (ClipEncoder, {"model": "fsar-tiny", "pretrained": "shapes"}),
    "timm": (ImageEncoder, {"model": "vit_tiny_patch16_224", "weights": None, "library": "timm", "image_size": 32}),
    "torchvision": (ImageEncoder, {"model": "vit_b_32", "weights": None, "image_size": 32}),
    "clips": (VideoEncoder, {"model": "swin3d_t", "weights": None, "image_size": 32}),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_features_are_close_and_other_features_to_a_store(name: str) -> None:
    made, options = ENCODERS[name]
    torch.manual_seed(0)
    exact = made(**options)
    torch.manual_seed(0)
    rounded = made(**options, precision="int8")
    clips = torch.randint(0, 256, (2, 4, 3, exact.image_size, exact.image_size), dtype=torch.uint8)
    one, other = exact(clips), rounded(clips)
    assert other.dtype == torch.float32
    assert not torch.equal(one, other)
    assert F.cosine_similarity(one, other, dim=-1).min() > 0.995
    assert exact.fingerprint() != rounded.fingerprint()
    assert rounded.frozen
    assert any(isinstance(module, Int8Linear) for module in rounded.visual.modules())


def test_attention_of_open_clip_is_held_too() -> None:
    encoder = ClipEncoder("fsar-tiny", "shapes", precision="int8")
    assert all(isinstance(block.attn, Int8Attention) for block in encoder.blocks)
    assert not any(isinstance(module, Int8Linear) for module in encoder.require_text().modules())


def test_copies_and_loaded_weights_give_the_same() -> None:
    torch.manual_seed(0)
    clips = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    encoder, other = (ClipEncoder("fsar-tiny", start, precision="int8") for start in ("shapes", None))
    wanted = encoder(clips)
    assert not torch.equal(other(clips), wanted)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(clips), wanted)
    assert torch.equal(copy.deepcopy(encoder)(clips), wanted)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ClipEncoder("fsar-tiny", "shapes", tune=1, precision="int8"), "7 bits, too coarse for tune=1"),
        (lambda: ImageEncoder("squeezenet1_1", None, precision="int8"), "torchvision squeezenet1_1 rgb has none"),
        (lambda: Adapted(ClipEncoder("fsar-tiny", "shapes", precision="int8"), AIM()), "AIM reads .* precision='bf16'"),
        (
            lambda: Beside(ClipEncoder("fsar-tiny", "shapes", precision="int8"), Ladder(width=16, temporal=[2])),
            "Ladder reads .* precision='bf16'",
        ),
        (
            lambda: ClipEncoder("fsar-tiny", "shapes", precision="int8").to("meta"),
            "made for CPUs, .* was to move to meta",
        ),
        (
            lambda: ClipEncoder("fsar-tiny", "shapes", precision="int8")(torch.rand(1, 2, 3, 64, 64).requires_grad_()),
            "passes no gradient",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()
