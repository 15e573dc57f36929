"""Every configuration parses; those on the toy CLIP train a step and score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace

from episodes.episode import Episode
from fsar.learner import Learner

CONFIGS = Path(__file__).parents[4] / "configs" / "method"
NAMES = ["ma_clip", "action_clip", "aim", "st_adapter", "lora", "evl", "d2st", "ts_fsar"]


def parsed(path: Path) -> tuple[ArgumentParser, Namespace]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Learner, "model")
    return parser, parser.parse_object(yaml.safe_load(path.read_text()))


def episode(side: int) -> Episode:
    generator = torch.Generator().manual_seed(0)
    return Episode(
        torch.randint(0, 256, (4, 8, 3, side, side), dtype=torch.uint8, generator=generator),
        torch.randint(0, 256, (3, 8, 3, side, side), dtype=torch.uint8, generator=generator),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([0, 1, 1]),
        torch.tensor([2, 0]),
        tuple(f"class {i}" for i in range(24)),
        torch.tensor(0),
    )


@pytest.mark.parametrize("name", NAMES)
def test_on_the_toy_clip_a_step_is_taken_and_scores_come_out(name: str) -> None:
    parser, config = parsed(CONFIGS / "tiny" / f"{name}.yaml")
    learner: Any = parser.instantiate(config).model
    method, task = learner.method, episode(64)
    optimizer = learner.configure_optimizers()
    optimizer = optimizer["optimizer"] if isinstance(optimizer, dict) else optimizer
    before = {n: p.detach().clone() for n, p in method.named_parameters() if p.requires_grad}
    losses = method.train().loss(method(task), task)
    losses["loss"].backward()
    optimizer.step()
    assert any(not torch.equal(p, before[n]) for n, p in method.named_parameters() if n in before)
    with torch.no_grad():
        assert torch.isfinite(method.eval()(task).logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_as_published_parses_and_names_its_own_trained_parts(name: str) -> None:
    _, config = parsed(CONFIGS / f"{name}.yaml")
    options = config.model.method.init_args
    encoder = options.encoder.init_args.encoder if "encoder" in options.encoder.init_args else options.encoder
    assert encoder.init_args.model == "ViT-B-16"
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# ")
