"""Encode every video once, then score any number of episodes on what was kept.

Released code decodes and encodes every clip of every test episode again. Here the first data loader of an evaluation
gives each needed video of the split once and :class:`VideoBank` keeps what the method wants of it; the second gives
batches of episodes whose clips are video numbers, and :func:`score_episodes` looks their features up.
"""

from fsar.evaluation.bank.keys import cache_key, contents, feature_key, has_halves, to_store
from fsar.evaluation.bank.scoring import Scoring, score_episodes
from fsar.evaluation.bank.videos import VideoBank

__all__ = ["Scoring", "VideoBank", "cache_key", "contents", "feature_key", "has_halves", "score_episodes", "to_store"]
