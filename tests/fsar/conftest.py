"""For encoders, adapters and methods: a tiny ViT with text, width 64, an 8 x 8 grid of patches, 48 channels."""

from __future__ import annotations

import json
from collections.abc import Callable

import open_clip
import pytest
import torch

from fsar.encoders import ClipEncoder

VISION = {"image_size": 32, "patch_size": 4, "width": 64, "head_width": 16}
TEXT = {"context_length": 24, "width": 32, "heads": 2, "layers": 1}


@pytest.fixture(scope="session")
def architectures_by_depth(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], str]:
    """Names the tiny ViT of so many blocks, which it registers with open_clip."""
    folder = tmp_path_factory.mktemp("by_depth")

    def name(blocks: int) -> str:
        file = folder / f"test-blocks-{blocks}.json"
        if not file.is_file():
            config = {"embed_dim": 48, "vision_cfg": {**VISION, "layers": blocks}, "text_cfg": TEXT}
            file.write_text(json.dumps(config))
            open_clip.add_model_config(file)
        return file.stem

    return name


@pytest.fixture
def three_blocks(architectures_by_depth: Callable[[int], str]) -> Callable[..., ClipEncoder]:
    """Makes the same encoder of three blocks every time, every weight random, in evaluation mode."""

    def make(**options: object) -> ClipEncoder:
        torch.manual_seed(1)
        encoder = ClipEncoder(architectures_by_depth(3), None, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in encoder.parameters():
                # drawn in float32 whatever the precision: torch 2.8 draws others for bfloat16
                parameter.add_(0.05 * torch.randn(parameter.shape))
        torch.manual_seed(2)
        return encoder.eval()

    return make


@pytest.fixture
def tiny(three_blocks: Callable[..., ClipEncoder]) -> Callable[..., ClipEncoder]:
    """That of three blocks; methods have one of two in its place."""
    return three_blocks
