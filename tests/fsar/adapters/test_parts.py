"""Single adapters against their formulas, written out slowly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsar.adapters import LoRA, MAClipAdapter, TemporalShift
from fsar.adapters.aim import AIMPart
from fsar.adapters.base import Clip, Tower
from fsar.adapters.d2st import SPATIAL, TEMPORAL, DeformableAttention
from fsar.adapters.ma_clip import MAClipPart
from fsar.adapters.st_adapter import FrameConvolution
from fsar.adapters.temporal_shift import temporal_shift
from fsar.encoders import ClipEncoder
from fsar.encoders.adapted import Adapted

Tiny = Callable[..., ClipEncoder]


def shaken(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def test_temporal_shift_reproduces_the_released_code(reference: Callable[..., dict[str, Tensor]]) -> None:
    case = reference("action_clip", "temporal_shift")
    tokens, shifted = case["tokens_lnd"], case["shifted_lnd"]
    ours = temporal_shift(tokens.transpose(0, 1), int(case["n_segment"]))
    assert torch.equal(ours, shifted.transpose(0, 1))


def test_shifting_the_branch_alone_keeps_the_skip(tiny: Tiny) -> None:
    x = torch.rand(1, 8, 3, 32, 32)
    plain = tiny()(x)
    both = [Adapted(tiny(), TemporalShift(residual=residual)).eval()(x) for residual in (True, False)]
    change = [float((y - plain).norm()) for y in both]
    assert change[0] > change[1] > 0


def test_st_adapter_is_a_depthwise_conv3d() -> None:
    adapter = shaken(FrameConvolution(16, 8))
    conv = nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0), groups=8)
    with torch.no_grad():
        conv.weight.copy_(adapter.weight.T[:, None, :, None, None])
        conv.bias.copy_(adapter.bias)
    x = torch.randn(2 * 5, 1 + 6, 16)
    z = adapter.down(x[:, 1:]).unflatten(0, (2, 5)).unflatten(2, (2, 3)).permute(0, 4, 1, 2, 3)
    z = conv(z).permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1, 2)
    torch.testing.assert_close(adapter(x, 5), torch.cat([x[:, :1], x[:, 1:] + adapter.up(z)], dim=1))


def test_aim_drops_the_branch_of_whole_clips_and_rescales_the_others() -> None:
    part, branch = AIMPart(16, 4, 1.0, False, drop=0.75), torch.ones(1000 * 2, 3, 16)
    kept = part.train().kept(branch, frames=2)[:, 0, 0].view(1000, 2)
    assert set(kept.flatten().tolist()) == {0.0, 4.0}
    assert torch.equal(kept[:, 0], kept[:, 1])
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.2)  # as without dropping; 0.05 is a standard deviation
    assert torch.equal(part.eval().kept(branch, frames=2), branch)


def test_lora_is_a_change_of_the_weights(tiny: Tiny) -> None:
    encoder = Adapted(tiny(), LoRA(rank=2, alpha=6.0, target="all")).eval()
    shaken(nn.ModuleList(block.adapter for block in encoder.blocks))
    merged = tiny()
    with torch.no_grad():
        for block, plain in zip(encoder.blocks, merged.blocks, strict=True):
            (qkv, fc, proj), (b_qkv, b_fc, b_proj) = block.adapter.a, block.adapter.b
            for i in range(3):
                plain.attn.in_proj_weight[64 * i : 64 * (i + 1)] += 3 * b_qkv[i] @ qkv[i]
            plain.mlp.c_fc.weight += 3 * b_fc[0] @ fc[0]
            plain.mlp.c_proj.weight += 3 * b_proj[0] @ proj[0]
    x = torch.rand(1, 2, 3, 32, 32)
    torch.testing.assert_close(encoder(x), merged(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="rank must be 1"):
        LoRA(rank=0)


@pytest.mark.parametrize(("kernel", "stride"), [SPATIAL, TEMPORAL])
@torch.no_grad()
def test_deformable_attention_written_out(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
    groups, each, t, h, w = 2, 4, 5, 8, 9
    module = shaken(DeformableAttention(groups * each, groups, kernel, stride)).eval()
    z = torch.randn(1, t, 1 + h * w, groups * each)
    torch.testing.assert_close(module(z, (h, w)), slow_deformable(module, z, (t, h, w)), rtol=1e-4, atol=1e-5)


def slow_deformable(module: DeformableAttention, z: Tensor, size: tuple[int, int, int]) -> Tensor:
    """One clip, one group and one point at a time, with a trilinear reading of our own."""
    h, w = size[1:]
    each = z.shape[-1] // module.groups
    q = module.query(z)
    sampled = []
    for g in range(module.groups):
        channels = slice(g * each, (g + 1) * each)
        volume = z[0, :, 1:, channels].unflatten(1, (h, w))  # (t h w c)
        grid = q[0, :, 1:, channels].unflatten(1, (h, w)).permute(3, 0, 1, 2)[None]
        steps = module.offset_conv(grid)[0].permute(1, 2, 3, 0)
        shift = torch.tanh(F.gelu(module.offset_norm(steps)) @ module.offset.weight.T)
        counts = steps.shape[:3]
        points = []
        for index in np.ndindex(*counts):
            place = [
                ((i + 0.5) / n * 2 - 1 + float(s) * min(1, 2 / n) + 1) / 2 * (extent - 1)
                for i, n, s, extent in zip(index, counts, shift[index], size, strict=True)
            ]
            points.append(trilinear(volume, place))
        sampled.append(torch.stack(points))
    keys = torch.cat(sampled, dim=-1)
    k, v = module.key(keys), module.value(keys)
    heads = []
    for g in range(module.groups):
        channels = slice(g * each, (g + 1) * each)
        weights = (q[0].flatten(0, 1)[:, channels] @ k[:, channels].T / each**0.5).softmax(-1)
        heads.append(weights @ v[:, channels])
    return module.out(torch.cat(heads, dim=-1)).unflatten(0, z.shape[1:3])[None]


def trilinear(volume: Tensor, place: list[float]) -> Tensor:
    """``volume (t h w c)`` at a real place, zero outside."""
    total = torch.zeros(volume.shape[-1])
    low = [int(np.floor(x)) for x in place]
    for corner in np.ndindex(2, 2, 2):
        at = [a + c for a, c in zip(low, corner, strict=True)]
        if all(0 <= a < n for a, n in zip(at, volume.shape, strict=False)):
            weight = np.prod([1 - abs(x - a) for x, a in zip(place, at, strict=True)])
            total = total + float(weight) * volume[tuple(at)]
    return total


def test_d2st_reduces_eight_frames_of_vit_b16_to_32_points_each() -> None:
    for kernel, stride in (SPATIAL, TEMPORAL):
        module = DeformableAttention(16, 4, kernel, stride)
        points = module.points(torch.randn(1, 16, 8, 14, 14))
        assert points[0, ..., 0].numel() == 32
    with pytest.raises(ValueError, match="4 frames and a grid of 7 x 7"):
        DeformableAttention(16, 4, *SPATIAL)(torch.randn(1, 3, 50, 16), (7, 7))


def test_ma_clip_block_written_out(tiny: Tiny) -> None:
    block = tiny().blocks[0]
    part = shaken(MAClipPart(Tower(64, 4, 3, 256, (8, 8), 48), 16, 0.5, False))
    x, text = torch.randn(2 * 3, 65, 64), torch.randn(2, 48)
    with torch.no_grad():
        for words in (None, text):
            torch.testing.assert_close(
                part(block, x, Clip(3, words)), slow_ma_clip(part, block, x, words), rtol=1e-4, atol=1e-5
            )


def slow_ma_clip(part: MAClipPart, block: nn.Module, x: Tensor, text: Tensor | None) -> Tensor:
    def attention(z: Tensor) -> Tensor:
        z = block.ln_1(z)[None]
        return nn.MultiheadAttention.forward(block.attn, z, z, z, need_weights=False)[0][0]

    out = []
    for b in range(2):
        classes = x[3 * b : 3 * b + 3, 0]
        moved = classes + part.temporal(attention(classes))
        for i in range(3):
            tokens = [x[3 * b + i], moved[i : i + 1]]
            if text is not None:
                tokens.append(part.text(text[b])[None])
            tokens = torch.cat(tokens)
            h = attention(tokens)
            kept = (tokens + h + part.multimodal(h))[:65]
            y = block.ln_2(kept)
            out.append(kept + block.mlp(y) + 0.5 * part.joint(y))
    return torch.stack(out)


def test_ma_clip_text_moves_supports_and_never_queries(tiny: Tiny) -> None:
    encoder = Adapted(tiny(), MAClipAdapter(start_masked=False)).eval()
    x, text = torch.rand(1, 8, 3, 32, 32), torch.randn(1, 48, requires_grad=True)
    assert not torch.allclose(encoder(x, text), encoder(x, 2 * text), atol=1e-5)
    encoder.train()
    encoder(x).sum().backward()
    assert all(block.adapter.text.weight.grad is None for block in encoder.blocks)
