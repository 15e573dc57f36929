"""The short budget: a twentieth of a training, its schedule squeezed with it, and fewer episodes of evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PART, VAL, TEST = 20, 200, 1000
SHORT = f"short budget: a {PART}th of the training, {VAL} validation and {TEST:,} test episodes"
IN_STEPS = ("warmup", "milestones", "T_max")
"""Options of schedules that count optimiser steps."""


def training_episodes(content: Mapping[str, Any]) -> int:
    """Episodes that a configuration trains on, in all."""
    trainer, data = content["trainer"], content["data"]
    steps, together = trainer.get("max_steps", -1) or -1, data.get("episodes_per_batch", 1)
    if steps > 0:
        return int(steps * trainer.get("accumulate_grad_batches", 1) * together)
    return int(trainer["max_epochs"] * data.get("train_episodes", 1000))


def shorten(content: Mapping[str, Any]) -> dict[str, Any]:
    """What to lay over a configuration: one epoch, at whose end is the one validation.

    >>> shorten({"trainer": {"max_steps": 1250, "accumulate_grad_batches": 16}, "data": {}})["data"]["train_episodes"]
    1008
    """
    trainer, data = content["trainer"], content["data"]
    together = trainer.get("accumulate_grad_batches", 1) * data.get("episodes_per_batch", 1)
    steps = max(1, -(-training_episodes(content) // together // PART))
    changes: dict[str, Any] = {
        "trainer": {"max_steps": -1, "max_epochs": 1},
        "data": {
            "train_episodes": steps * together,
            "val_episodes": min(VAL, data.get("val_episodes", VAL)),
            "test_episodes": min(TEST, data.get("test_episodes", TEST)),
        },
    }
    options = (content.get("model", {}).get("lr_scheduler") or {}).get("init_args", {})
    if squeezed := {key: _squeeze(options[key]) for key in IN_STEPS if key in options}:
        changes["model"] = {"lr_scheduler": {"init_args": squeezed}}
    return changes


def _squeeze(steps: Any) -> Any:
    return [_squeeze(each) for each in steps] if isinstance(steps, list) else max(1, round(steps / PART))
