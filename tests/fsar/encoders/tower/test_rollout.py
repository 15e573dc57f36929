"""Attention rollout: by hand, on ViTs of open_clip and timm, and what takes its place elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch
from torch import Tensor

from fsar.encoders import ClipEncoder, ImageEncoder
from fsar.encoders.tower.rollout import ALIKE, ROLLOUT, heat_of, recorded_attention, roll_out


def test_by_hand() -> None:
    a, b = torch.rand(2, 1, 3, 3).softmax(-1)
    eye = torch.eye(3)
    rolled = (b[0] + eye) / 2 @ ((a[0] + eye) / 2)
    found = roll_out([a, b], 2, 1)
    assert found is not None
    torch.testing.assert_close(found[0], rolled[0, 1:])
    whole = roll_out([a, b], 3, 1)  # no class token
    assert whole is not None
    torch.testing.assert_close(whole[0], rolled.mean(0))
    assert roll_out([a, b[:, :2, :2]], 2, 1) is None
    assert roll_out([a], 2, 4) is None
    assert roll_out([], 2, 1) is None


def test_a_vit_of_open_clip(tiny: Callable[..., ClipEncoder]) -> None:
    encoder = tiny()
    frames = torch.rand(4, 3, 32, 32)
    kind, heat = heat_of(encoder, frames) or ("", Tensor())
    assert kind == ROLLOUT
    assert heat.shape == (4, 8, 8)
    encoder.frames_per_chunk = 3  # in pieces, it is the same
    torch.testing.assert_close((heat_of(encoder, frames) or ("", Tensor()))[1], heat)
    encoder.frames_per_chunk = None
    torch.testing.assert_close(heat.amax((1, 2)), torch.ones(4))
    with recorded_attention(encoder.visual) as seen:
        before = encoder(frames)
    assert len(seen) == 3
    torch.testing.assert_close(seen[0][0].sum(-1), torch.ones(4, 65))
    assert torch.equal(before, encoder(frames))  # looking changes nothing, and nothing stays behind
    assert not any(module._forward_pre_hooks for module in encoder.visual.modules())


def test_timms_attention_is_its_own() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=0).eval()
    attention, x, kept = network.blocks[0].attn, torch.rand(2, 5, 192), []
    attention.fused_attn = False  # then its weights pass through a module
    attention.attn_drop.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with recorded_attention(network) as seen, torch.no_grad():
        attention(x)
    torch.testing.assert_close(seen[0][0], kept[0].mean(1))


def test_a_network_without_attention_says_what_it_shows_instead() -> None:
    encoder = ImageEncoder("resnet18", None, image_size=64).eval()
    kind, heat = heat_of(encoder, torch.rand(2, 3, 64, 64)) or ("", Tensor())
    assert kind == ALIKE
    assert heat.shape == (2, *encoder.grid)
    assert float(heat.min()) >= 0
