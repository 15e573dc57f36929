"""A label error in the support: one clip of one class is of another, against the same episode without the fault."""

from __future__ import annotations

import numpy as np

from episodes.sampler import EpisodeSampler, draw_distinct, hash_words
from fsar.evaluation.protocols.ground import Ground, Measure, as_tasks, count_usable, measure_accuracy, summarise_row


def run(
    ground: Ground, ways: int = 5, shots: int = 5, queries: int = 1, episodes: int = 1000, seed: int = 0
) -> list[Measure]:
    """One wrong support clip against none, paired; and what it does to the class that it was put into."""
    count_usable(ground, shots + queries, ways)
    sampler = EpisodeSampler(ground.labels, ways, shots, queries, seed, ground.class_names, drop_small_classes=True)
    clean = as_tasks(sampler, episodes)
    word = hash_words(seed + 1, np.arange(episodes))
    hit = (word % np.uint64(ways)).astype(np.int64)  # the class that gets the wrong clip
    source = (hit + 1 + ((word >> np.uint64(20)) % np.uint64(ways - 1)).astype(np.int64)) % ways
    wrong = clean.support.copy()
    for e in range(episodes):
        videos = np.flatnonzero(ground.labels == clean.classes[e, source[e]])
        free = np.setdiff1d(videos, np.concatenate([clean.support[e], clean.query[e]]))
        pick = free if len(free) else np.setdiff1d(videos, clean.query[e])
        draw = draw_distinct(hash_words(seed + 2, e, np.arange(1)), np.array([len(pick)]))
        wrong[e, hit[e] * shots] = pick[int(draw.ravel()[0])]
    truth = clean.query_labels
    logits = [ground.score(clean), ground.score(clean._replace(support=wrong))]
    before, after = (measure_accuracy(x, truth) for x in logits)
    own = [((x.argmax(-1) == truth) & (truth == hit[:, None])).sum(-1) / queries for x in logits]
    return [
        summarise_row("no wrong shot", before),
        summarise_row("one wrong shot", after),
        summarise_row("difference, paired", after - before),
        summarise_row("the class with the wrong shot, before", own[0]),
        summarise_row("the class with the wrong shot, after", own[1]),
    ]
