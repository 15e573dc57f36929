"""Tiny networks of transformers with random weights, in folders as it writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
PIXELS = {"image_mean": [0.4] * 3, "image_std": [0.2] * 3, "size": {"shortest_edge": 36}, "crop_size": 32}


def network(name: str, layers: int = 2) -> Any:
    """A network of transformers for clips of 4 frames of 32 pixels."""
    transformers = pytest.importorskip("transformers")
    small = SMALL | {"num_hidden_layers": layers}
    common = small | {"image_size": 32, "num_frames": 4}
    text = small | {"projection_dim": 24, "vocab_size": 9, "max_position_embeddings": 4}
    mixing = {f"mit_{key}": 1 if key == "num_hidden_layers" else value for key, value in SMALL.items()}
    pred = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    made: dict[str, tuple[str, str, dict[str, Any]]] = {
        "videomae": ("VideoMAEConfig", "VideoMAEModel", common | {"use_mean_pooling": False}),
        "videomae_tuned": ("VideoMAEConfig", "VideoMAEForVideoClassification", common),
        "vjepa2": ("VJEPA2Config", "VJEPA2Model", small | pred | {"crop_size": 32, "frames_per_clip": 4}),
        "timesformer": ("TimesformerConfig", "TimesformerForVideoClassification", common),
        "vivit": ("VivitConfig", "VivitForVideoClassification", common),
        "xclip": (
            "XCLIPConfig",
            "XCLIPModel",
            {
                "vision_config": common | mixing | {"patch_size": 16},
                "text_config": text,
                "projection_dim": 24,
                "prompt_layers": 1,
                "prompt_num_attention_heads": 2,
            },
        ),
    }
    config, model, options = made[name]
    body = getattr(transformers, model)(getattr(transformers, config)(**options)).eval()
    with torch.no_grad():
        for weight in body.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return body


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """``folders("vivit")``: a folder as ``save_pretrained`` writes it, with what it says of its pixels."""
    known: dict[tuple[str, int], str] = {}

    def folder(name: str, layers: int = 2) -> str:
        if (name, layers) not in known:
            root = tmp_path_factory.mktemp(name)
            torch.manual_seed(0)
            network(name, layers).save_pretrained(root)
            (root / "preprocessor_config.json").write_text(json.dumps(PIXELS))
            known[name, layers] = str(root)
        return known[name, layers]

    return folder


@pytest.fixture(scope="session")
def plain() -> Callable[..., Any]:
    """The network that :func:`folders` writes."""
    return network
