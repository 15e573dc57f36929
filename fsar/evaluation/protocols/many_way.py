"""Many ways: 5 classes, twice as many, ... up to all of the split, on the same seeded list of classes and queries."""

from __future__ import annotations

from episodes.sampler import EpisodeSampler
from fsar.evaluation.protocols.ground import Ground, Measure, as_tasks, count_usable, measure_accuracy, summarise_row


def run(
    ground: Ground, ways: int = 5, shots: int = 1, queries: int = 1, episodes: int = 200, seed: int = 0
) -> list[Measure]:
    """Accuracy by the number of classes, from ``ways`` up to all."""
    have = count_usable(ground, shots + queries, ways)
    steps = [ways * 2**i for i in range(12) if ways * 2**i < have] + [have]
    rows = []
    for n in steps:
        sampler = EpisodeSampler(ground.labels, n, shots, queries, seed, ground.class_names, drop_small_classes=True)
        tasks = as_tasks(sampler, episodes)
        rows.append(summarise_row(f"{n}-way", measure_accuracy(ground.score(tasks), tasks.query_labels)))
    return rows
