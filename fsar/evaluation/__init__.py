"""Evaluation: encode every video once, score any number of episodes, write down where each number comes from.

What reads results alone needs no torch: it comes with the first of these names that is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsar.evaluation.accuracy import Accuracy
    from fsar.evaluation.bank import VideoBank, feature_key, score_episodes
    from fsar.evaluation.metrics import EpisodeAccuracy
    from fsar.evaluation.results import summarise, write_results

MODULES = {
    "Accuracy": "accuracy",
    "EpisodeAccuracy": "metrics",
    "VideoBank": "bank",
    "feature_key": "bank",
    "score_episodes": "bank",
    "summarise": "results",
    "write_results": "results",
}
__all__ = ["Accuracy", "EpisodeAccuracy", "VideoBank", "feature_key", "score_episodes", "summarise", "write_results"]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
