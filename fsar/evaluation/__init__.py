"""Evaluation: encode every video once, score any number of episodes, write down where each number comes from."""

from fsar.evaluation.bank import VideoBank, feature_key, score_episodes
from fsar.evaluation.metrics import Accuracy, EpisodeAccuracy
from fsar.evaluation.results import summarise, write_results

__all__ = [
    "Accuracy",
    "EpisodeAccuracy",
    "VideoBank",
    "feature_key",
    "score_episodes",
    "summarise",
    "write_results",
]
