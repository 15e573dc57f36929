"""Weights and operations that adapters add to ViT-B/16."""

from __future__ import annotations

import copy

import pytest

from fsar.adapters import AIM, D2STAdapter, LoRA, MAClipAdapter, STAdapter, TemporalShift
from fsar.encoders import ClipEncoder, ImageEncoder
from fsar.encoders.adapted import Adapted
from fsar.encoders.cost import added_cost

PUBLISHED = {
    "aim": (AIM(), 10_659_072),
    "aim two temporal": (AIM(temporal_input=True), 14_209_536),
    "st": (STAdapter(), 7_110_144),
    "st twice": (STAdapter(before_mlp=True), 14_220_288),
    "st kinetics": (STAdapter(before_attention=False, before_mlp=True), 7_110_144),
    "d2st": (D2STAdapter(frames=0, tune_ends=False), 7_274_304),
    "ma": (MAClipAdapter(start_masked=False), 15_379_200),
    "lora": (LoRA(rank=4), 12 * 3 * 2 * 4 * 768),
    "shift": (TemporalShift(), 0),
}


@pytest.fixture(scope="module")
def vit_b16() -> ClipEncoder:
    """Shapes without numbers."""
    return ClipEncoder("ViT-B-16", None).to("meta")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_number_of_weights(vit_b16: ClipEncoder, name: str) -> None:
    adapter, count = PUBLISHED[name]
    encoder = Adapted(copy.deepcopy(vit_b16), adapter)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == count
    cost = added_cost(encoder)
    assert cost.trained == count
    assert 33e9 < cost.tower < 37e9  # ViT-B/16 at 224 px, a multiplication and an addition counted as two
    assert (cost.added == 0) == (name == "shift")
    if name == "aim":  # 3 bottlenecks and an attention over 8 frames, 197 tokens, 12 blocks
        bottlenecks = 3 * 2 * 2 * 768 * 192 * 197 * 12
        attention = (2 * 4 * 768 * 768 + 2 * 2 * 8 * 768) * 197 * 12
        assert cost.added == bottlenecks + attention
        assert "10,659,072 trained weights" in str(cost)


def test_operations_are_those_of_any_precision() -> None:
    costs = [
        added_cost(
            Adapted(
                ImageEncoder("vit_tiny_patch16_224", None, "timm", image_size=32, precision=precision), LoRA(rank=2)
            )
        )
        for precision in ("fp32", "bf16")
    ]
    assert costs[0] == costs[1]
