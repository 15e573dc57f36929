"""Every configuration of the family builds and, with the tiny encoder, scores an episode of pixels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from episodes.episode import Episode
from fsar.build import build

CONFIGS = Path(__file__).parents[4] / "configs" / "method"
NAMES = [
    "zero_shot",
    "linear_probe",
    "nearest",
    "simple_shot",
    "tip_adapter",
    "tip_adapter_f",
    "ape",
    "ape_t",
    "coop",
    "cocoop",
    "clip4clip",
]


@pytest.mark.parametrize("name", NAMES)
def test_builds_and_scores(tiny_clip: str, name: str) -> None:
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    options = config["model"]["method"]["init_args"]
    options["encoder"]["init_args"] |= {"model": tiny_clip, "pretrained": None}
    if "channels" in options:
        options["channels"] = 40
    learner, _ = build(["--config", json.dumps(config)])
    episode = Episode(
        torch.randint(0, 256, (4, 2, 3, 32, 32), dtype=torch.uint8),
        torch.randint(0, 256, (3, 2, 3, 32, 32), dtype=torch.uint8),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([0, 1, 1]),
        torch.tensor([2, 0]),
        ("surfing", "yoga", "juggling"),
        torch.tensor(0),
    )
    method = learner.method
    with torch.no_grad():
        assert torch.isfinite(method.eval()(episode).logits).all()
    if "optimizer" in config["model"]:
        learner.configure_optimizers()
        method.train()
        method.loss(method(episode), episode)["loss"].backward()
    else:
        with pytest.raises(ValueError, match="nothing to fit"):
            learner.parameter_groups()
