"""All-way k-shot and base-to-novel: all classes of a split at once, with 1, 2, 4, 8 and 16 shots.

Rasheed et al. 2023, "Fine-tuned CLIP Models are Efficient Video Learners" (ViFi-CLIP), https://arxiv.org/abs/2212.03640:
base classes are those of the training split, novel ones those of the test split, each told apart among themselves, and
HM = 2 base novel / (base + novel). Without training classes the novel half stands alone. (A run that was trained on the
base classes has seen their clips.)
"""

from __future__ import annotations

import numpy as np

from episodes.sampler import EpisodeSampler
from fsar.evaluation.protocols.ground import Ground, Measure, as_tasks, measure_accuracy, summarise_row


def run(
    ground: Ground, ways: int = 0, shots: int = 16, queries: int = 5, episodes: int = 20, seed: int = 0
) -> list[Measure]:
    """Rows by shots; ``ways`` is not read, since all classes take part that have the clips.

    Raises:
        ValueError: when no two classes have a clip to learn from and the queries.
    """
    rows = []
    for k in (k for k in (1, 2, 4, 8, 16) if k <= shots):
        found = {}
        for split, kind in (("train", "base"), ("test", "novel")):
            if split not in ground.parts:
                continue
            mine = ground.videos_of(split)
            sizes = np.bincount(ground.labels[mine], minlength=len(ground.class_names))
            have = int((sizes >= k + queries).sum())
            if have < 2:
                continue
            sampler = EpisodeSampler(
                ground.labels[mine], have, k, queries, seed, ground.class_names, drop_small_classes=True
            )
            tasks = as_tasks(sampler, episodes)
            tasks = tasks._replace(support=mine[tasks.support], query=mine[tasks.query])
            found[kind] = measure_accuracy(ground.score(tasks), tasks.query_labels)
            rows.append(summarise_row(f"{k}-shot, {kind}, {have} classes", found[kind]))
        if len(found) == 2:
            harmonic = 2 * found["base"] * found["novel"] / np.maximum(found["base"] + found["novel"], 1e-12)
            rows.append(summarise_row(f"{k}-shot, harmonic mean", harmonic))
    if not rows:
        raise ValueError(f"all-way: no two classes of a split have 1 + {queries} clips: lower --queries.")
    return rows
