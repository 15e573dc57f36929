"""Few-shot over time: classes come one after the other and nothing is trained again; accuracy after each step."""

from __future__ import annotations

import numpy as np

from episodes.sampler import EpisodeSampler
from episodes.words import pluralise
from fsar.evaluation.protocols.ground import Ground, Measure, Tasks, count_usable, summarise_row


def run(
    ground: Ground, ways: int = 5, shots: int = 1, queries: int = 1, episodes: int = 200, seed: int = 0
) -> list[Measure]:
    """Accuracy over all classes that have come, after each ``ways`` more; and over those of the first step."""
    have = count_usable(ground, shots + queries, ways)
    total = have - have % ways
    sampler = EpisodeSampler(ground.labels, total, shots, queries, seed, ground.class_names, drop_small_classes=True)
    classes, support, query = sampler.episodes(np.arange(episodes))
    rows = []
    for n in range(ways, total + 1, ways):
        truth = np.tile(np.repeat(np.arange(n), queries), (episodes, 1))
        shown = np.tile(np.repeat(np.arange(n), shots), (episodes, 1))
        tasks = Tasks(classes[:, :n], support[:, : n * shots], shown, query[:, : n * queries], truth)
        right = ground.score(tasks).argmax(-1) == truth
        rows.append(summarise_row(pluralise(n, "class"), right.mean(-1)))
        if n > ways:
            rows.append(summarise_row(f"the first {ways} among {n}", right[:, : ways * queries].mean(-1)))
    return rows
