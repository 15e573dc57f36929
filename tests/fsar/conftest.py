"""For encoders and adapters: a tiny ViT with text, every weight random: 3 blocks, width 64, an 8 x 8 grid of patches,
48 channels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch

from fsar.encoders import ClipEncoder

CONFIG = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "patch_size": 4, "width": 64, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 24, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "test-adapted.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    return folder


@pytest.fixture
def tiny(architecture: Path) -> Callable[..., ClipEncoder]:
    """Makes the same encoder every time, in evaluation mode."""

    def make(**options: object) -> ClipEncoder:
        torch.manual_seed(1)
        encoder = ClipEncoder("test-adapted", None, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        torch.manual_seed(2)
        return encoder.eval()

    return make
