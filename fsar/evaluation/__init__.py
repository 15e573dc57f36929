"""Evaluation: encode every video once, score any number of episodes, write down where each number comes from.

What reads results alone needs no torch: it comes with the first of these names that is asked for.

>>> from episodes.clips import Streams
>>> from episodes.dataset import index_episodes
>>> from episodes.episode import VideoBatch
>>> from episodes.sampler import EpisodeSampler
>>> from fsar.alignment import OTAM
>>> from fsar.encoders import ClipEncoder
>>> from fsar.evaluation import EpisodeAccuracy, VideoBank, score_episodes
>>> from fsar.methods import Prototype
>>> labels, clips = torch.tensor([0, 0, 1, 1]), torch.zeros(4, 8, 3, 64, 64, dtype=torch.uint8)
>>> clips[2:, 4:] = 255  # those of the second class become bright
>>> bank = VideoBank(Prototype(ClipEncoder("fsar-tiny", "shapes"), OTAM()))
>>> bank.add(VideoBatch(torch.arange(4), Streams(frames=clips), labels, ("dark", "brighter")))
>>> sampler = EpisodeSampler(labels, ways=2, shots=1, queries=1)
>>> episodes = index_episodes(sampler, range(1000))
>>> accuracy = EpisodeAccuracy()
>>> accuracy.update(score_episodes(bank, episodes).logits, episodes.query_labels)
>>> print(accuracy.compute())
100.00 ± 0.00 % (1,000 episodes)
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
