"""Attention rollout: by hand, on ViTs of open_clip and timm, and what takes its place elsewhere. Grad-CAM: by hand."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch
from torch import Tensor

from episodes.clips import Streams
from fsar.encoders import ClipEncoder, ImageEncoder
from fsar.encoders.tower.heat import ALIKE, ROLLOUT, class_heat, heat_of, recorded_attention, roll_out
from fsar.encoders.weights.by_name import encoder_by_name


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


def test_grad_cam_is_a_loop_over_frames_channels_and_places() -> None:
    encoder = ImageEncoder("resnet18", None, image_size=64).eval()
    clip, classes = torch.rand(3, 3, 64, 64), torch.randn(2, 512)

    def logits(pixels: Tensor) -> Tensor:  # the last frame is not read
        return classes @ encoder(pixels[None])[0, :2].square().mean(0)

    found = class_heat(encoder, clip, lambda pixels: logits(pixels)[1])
    assert found is not None
    with torch.no_grad():
        maps = encoder.features(Streams(frames=clip), ["patches"])["patches"]
    by_hand = torch.zeros(3, 4)
    for t in (0, 1):
        for k in range(512):
            # ∂y/∂A of y = c (mean A)² / 2 over two frames and four places, the same at each place; class 1 alone
            slope = float(classes[1, k] * maps[t, :, k].mean() / 4)
            by_hand[t] += slope * maps[t, :, k]
    by_hand.clamp_(min=0)
    torch.testing.assert_close(found.flatten(1), by_hand / by_hand.max())
    assert not found[2].any()
    other = class_heat(encoder, clip, lambda pixels: logits(pixels)[0])
    assert other is not None
    assert not torch.equal(found, other)
    assert class_heat(encoder, clip, lambda pixels: logits(pixels.detach())[0]) is None  # no gradient
    assert not encoder.visual.conv1.weight.requires_grad
    assert encoder.visual.conv1.weight.grad is None


def test_what_has_no_heat_says_so(tiny: Callable[..., ClipEncoder]) -> None:
    several = ImageEncoder("crossvit_9_240", None, library="timm").eval()  # ends in two rows of tokens
    for encoder in (several, tiny(precision="int8"), encoder_by_name("torchvision:r3d_18", None).eval()):
        clip = torch.rand(8, 3, encoder.image_size, encoder.image_size)
        assert class_heat(encoder, clip, lambda pixels, see=encoder: see(pixels[None]).sum()) is None  # type: ignore[misc]


def test_grad_cam_of_a_vit_is_that_of_what_enters_its_last_block(tiny: Callable[..., ClipEncoder]) -> None:
    encoder, text = tiny(), torch.randn(48)
    clip = (255 * torch.rand(2, 3, 32, 32)).to(torch.uint8)
    found = class_heat(encoder, clip, lambda pixels: encoder(pixels[None]).mean((0, 1)) @ text)
    assert found is not None
    assert found.shape == (2, 8, 8)
    tokens = encoder.features(Streams(frames=clip), ["layer -2"])["layer -2"].requires_grad_()
    after = encoder.visual.transformer.resblocks[-1](tokens)
    (encoder.visual.ln_post(after)[:, 0] @ encoder.visual.proj).mean(0).dot(text).backward()
    assert tokens.grad is not None
    by_hand = (tokens * tokens.grad[:, 1:].mean(1, keepdim=True)).sum(-1)[:, 1:].clamp(min=0)
    torch.testing.assert_close(found.flatten(1), by_hand / by_hand.max(), atol=1e-4, rtol=1e-3)
