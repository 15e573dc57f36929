"""Tiny image-text architectures, registered with open_clip under names of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import nn

TEXT = {"context_length": 24, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 3, "head_width": 32}
CONFIGS: dict[str, dict[str, Any]] = {
    "test-vit": {"embed_dim": 48, "vision_cfg": VIT, "text_cfg": TEXT},
    "test-vit-quickgelu": {"embed_dim": 48, "quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT},
    "test-plain": {"embed_dim": 40, "vision_cfg": VIT, "text_cfg": TEXT},  # one activation only
    "test-resnet": {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
        "text_cfg": TEXT,
    },
    "test-timm": {
        "embed_dim": 48,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear", "image_size": 160},
        "text_cfg": TEXT,
        "custom_text": True,
    },
}


@pytest.fixture(scope="session", autouse=True)
def architectures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("architectures")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return folder


@pytest.fixture
def network() -> nn.Module:
    """open_clip's own ``test-vit`` (the class ``CLIP``), every weight random and none zero."""
    return shaken(open_clip.CLIP(**open_clip.get_model_config("test-vit")))


@pytest.fixture
def weights(network: nn.Module, tmp_path: Path) -> str:
    """The state dict of ``network`` as a plain file."""
    path = tmp_path / "plain.pt"
    torch.save(network.state_dict(), path)
    return str(path)


def shaken(network: nn.Module) -> nn.Module:
    """Zero and one initial values hide errors: every weight is moved a little."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()
