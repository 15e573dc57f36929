"""peft's LoRA, where it is installed, in the network of an encoder: numbers as ours, trained as any weights are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from episodes.clips import Streams
from fsar.adapters import LoRA
from fsar.encoders import Adapted, ClipEncoder, ImageEncoder
from fsar.encoders.tower.blocks import trained_tensors

peft: Any = pytest.importorskip("peft")


def clips(side: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_same_a_and_b_give_the_same_features() -> None:
    torch.manual_seed(0)
    plain = ImageEncoder("vit_tiny_patch16_224", None, "timm", image_size=32)
    ours = Adapted(copy.deepcopy(plain), LoRA(rank=4, alpha=12.0, target="mlp")).eval()
    theirs = copy.deepcopy(plain)
    peft.inject_adapter_in_model(peft.LoraConfig(r=4, lora_alpha=12, target_modules=["fc1", "fc2"]), theirs.visual)
    theirs.eval()
    for block, other in zip(ours.blocks, theirs.blocks, strict=True):
        for name in ("fc1", "fc2"):
            change = getattr(block.mlp, name).parametrizations.weight[0]  # type: ignore[union-attr]
            wrapped = getattr(other.mlp, name)  # type: ignore[union-attr]
            with torch.no_grad():
                change.b.normal_(std=0.1)
                wrapped.lora_A["default"].weight.copy_(change.a[0])
                wrapped.lora_B["default"].weight.copy_(change.b[0])
    found = ours(clips(32))
    assert not torch.allclose(found, plain(clips(32)), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(theirs(clips(32)), found, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in theirs.parameters() if p.requires_grad) == sum(
        p.numel() for p in ours.parameters() if p.requires_grad
    )


@pytest.mark.parametrize("modules", [["attn"], ["c_fc", "c_proj"]])
def test_the_last_block_of_clip_is_trained_kept_and_has_a_frozen_half(modules: list[str]) -> None:
    plain = ClipEncoder("fsar-tiny", "shapes").eval()
    last = len(plain.blocks) - 1
    config = peft.LoraConfig(r=2, target_modules=modules, layers_to_transform=[last], layers_pattern="resblocks")
    encoder, twin = (ClipEncoder("fsar-tiny", "shapes") for _ in range(2))
    for one in (encoder, twin):
        peft.inject_adapter_in_model(config, one.visual)
        one.eval()
    torch.testing.assert_close(encoder(clips(64)), plain(clips(64)), rtol=1e-4, atol=1e-5)
    assert encoder.kept_layers == (last,)
    assert not encoder.frozen
    encoder(clips(64)).square().sum().backward()
    trained = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    assert all("lora_" in name and p.grad is not None for name, p in trained.items())
    with torch.no_grad():
        for p in trained.values():
            p.add_(0.1)
    halves = encoder.above(encoder.below(Streams(frames=clips(64))))["frames"]
    torch.testing.assert_close(halves, encoder(clips(64)), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(halves, plain(clips(64)), rtol=1e-3, atol=1e-3)
    kept = {f"visual.{name}" for name in trained_tensors(encoder.visual)}
    twin.load_state_dict({n: x for n, x in encoder.state_dict().items() if n in kept}, strict=False)
    assert torch.equal(twin(clips(64)), encoder(clips(64)))
