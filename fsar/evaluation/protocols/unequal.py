"""Unequal shots: 1 to 2k - 1 in turn over the classes, k on average, against k for each, with the same queries."""

from __future__ import annotations

import numpy as np

from episodes.sampler import EpisodeSampler, hash_words
from episodes.words import pluralise
from fsar.evaluation.protocols.ground import (
    Ground,
    Integers,
    Measure,
    Tasks,
    count_usable,
    measure_accuracy,
    summarise_row,
)


def run(
    ground: Ground, ways: int = 5, shots: int = 2, queries: int = 1, episodes: int = 1000, seed: int = 0
) -> list[Measure]:
    """Unequal shots against as many equal ones, paired."""
    if shots < 2:
        raise ValueError("unequal: with one shot on average there is nothing to share out: give --shots 2 or more.")
    count_usable(ground, 2 * shots - 1 + queries, ways)
    sampler = EpisodeSampler(
        ground.labels, ways, 2 * shots - 1, queries, seed, ground.class_names, drop_small_classes=True
    )
    classes, support, query = sampler.episodes(np.arange(episodes))
    truth = np.tile(sampler.query_labels, (episodes, 1))
    counts = np.array([1 + (i % (2 * shots - 1)) for i in range(ways)])
    order = np.argsort(hash_words(seed + 1, np.arange(episodes)[:, None], np.arange(ways)), -1)  # whose turn it is
    mine = counts[order]  # (e n) shots of each class
    grouped = support.reshape(episodes, ways, -1)
    kept = np.arange(grouped.shape[-1]) < mine[..., None]
    label = np.broadcast_to(np.arange(ways)[:, None], kept.shape[1:])
    uneven = Tasks(classes, grouped[kept].reshape(episodes, -1), spread_labels(label, kept), query, truth)
    same = np.broadcast_to(np.arange(grouped.shape[-1]) < shots, kept.shape)
    equal = Tasks(classes, grouped[same].reshape(episodes, -1), spread_labels(label, same), query, truth)
    even, other = (measure_accuracy(ground.score(tasks), truth) for tasks in (equal, uneven))
    of_class = (ground.score(uneven).argmax(-1) == truth).reshape(episodes, ways, queries).mean(-1)
    by_shots = [
        summarise_row(f"classes of {pluralise(c, 'shot')}", of_class[mine == c]) for c in sorted(set(counts.tolist()))
    ]
    return [
        summarise_row(f"{pluralise(shots, 'shot')} each", even),
        summarise_row("unequal shots", other),
        summarise_row("difference, paired", other - even),
        *by_shots,
    ]


def spread_labels(label: Integers, kept: np.ndarray) -> Integers:
    """Labels ``(n k)`` of the support clips that are kept, ``(e n k)`` bool, as ``(e s)``."""
    found: Integers = np.broadcast_to(label, kept.shape)[kept].reshape(len(kept), -1)
    return found
