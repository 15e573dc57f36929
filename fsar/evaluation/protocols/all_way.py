"""All-way k-shot and base-to-novel: all classes of a split at once, with 1, 2, 4, 8 and 16 shots.

Rasheed et al. 2023, "Fine-tuned CLIP Models are Efficient Video Learners" (ViFi-CLIP), https://arxiv.org/abs/2212.03640:
base classes are those of the training split, novel ones those of the test split, each told apart among themselves, and
HM = 2 base novel / (base + novel). Without training classes the novel half stands alone. (A run that was trained on the
base classes has seen their clips.)

With ViFi-CLIP's lists the clips are theirs: all clips to name are named by the listed shots. Their novel classes have
no list of shots (ViFi-CLIP names them by their names alone): here as many shots are drawn from the novel list.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from episodes.sampler import EpisodeSampler
from fsar.evaluation.protocols.ground import Ground, Measure, as_tasks, in_split, measure_accuracy, summarise_row
from fsar.evaluation.protocols.listed import score_lists

NOVEL_SHOTS = 16


def run(
    ground: Ground, ways: int = 0, shots: int = 16, queries: int = 5, episodes: int = 20, seed: int = 0
) -> list[Measure]:
    """Rows by shots; ``ways`` is not read, since all classes take part that have the clips.

    Raises:
        ValueError: when no two classes have a clip to learn from and the queries.
    """
    if "val1" in ground.parts or "validation" in ground.parts or "base_val" in ground.parts:
        return [*score_lists(ground), *score_novel(ground, episodes, seed)]
    rows = []
    for k in (k for k in (1, 2, 4, 8, 16) if k <= shots):
        found = {}
        for split, kind in (("train", "base"), ("test", "novel")):
            if split not in ground.parts:
                continue
            have, accuracy = score_split(ground, split, k, queries, episodes, seed)
            if have < 2:
                continue
            found[kind] = accuracy
            rows.append(summarise_row(f"{k}-shot, {kind}, {have} classes", found[kind]))
        if len(found) == 2:
            harmonic = 2 * found["base"] * found["novel"] / np.maximum(found["base"] + found["novel"], 1e-12)
            rows.append(summarise_row(f"{k}-shot, harmonic mean", harmonic))
    if not rows:
        raise ValueError(f"all-way: no two classes of a split have 1 + {queries} clips: lower --queries.")
    return rows


def score_split(
    ground: Ground, split: str, shots: int, queries: int, episodes: int, seed: int
) -> tuple[int, NDArray[np.float64]]:
    """How many classes of a split have the clips, and accuracy among all of them in each episode, where two have."""
    labels = ground.labels[ground.videos_of(split)] - ground.parts[split][0]
    have = int((np.bincount(labels, minlength=1) >= shots + queries).sum())
    if have < 2:
        return have, np.zeros(0)
    names = tuple(ground.class_names[c] for c in ground.classes_of(split))
    sampler = EpisodeSampler(labels, have, shots, queries, seed, names, drop_small_classes=True)
    tasks = in_split(ground, split, as_tasks(sampler, episodes))
    return have, measure_accuracy(ground.score(tasks), tasks.query_labels)


def score_novel(ground: Ground, episodes: int, seed: int) -> list[Measure]:
    """A row for the novel classes of base-to-novel lists, with shots that are drawn; each other clip is named."""
    if "novel_val" not in ground.parts:
        return []
    sizes = np.bincount(ground.labels[ground.videos_of("novel_val")] - ground.parts["novel_val"][0])
    shots = min(NOVEL_SHOTS, int(sizes.min()) - 1)
    if shots < 1:
        raise ValueError("all-way: a novel class of the list has one clip, which cannot be shown and named.")
    have, accuracy = score_split(ground, "novel_val", shots, int(sizes.min()) - shots, episodes, seed)
    return [summarise_row(f"novel_val: {shots} drawn shots, {have} classes", accuracy)]
