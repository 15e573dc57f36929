"""Generalized few-shot recognition: base and novel classes are told apart together.

Xian et al. 2021, "Generalized Few-Shot Video Classification with Video Retrieval and Feature Generation",
https://arxiv.org/abs/2007.04755. Every class of the training split (base) and some novel ones stand side by side; the
base classes' support are clips that were trained on, their queries clips that were not: a seeded share of each base
class's clips is kept out here, since the released lists of base test clips are not part of the project. (A run that was
trained on all clips of the base classes has seen these queries: its base number flatters, and a note says so.)

    base, novel   share of their queries named right among all classes;   HM = 2 base novel / (base + novel)
"""

from __future__ import annotations

import numpy as np

from episodes.sampler import draw_distinct, hash_words
from fsar.evaluation.protocols.ground import Ground, Integers, Measure, Tasks, summarise_row

BASE_SHOTS = 10
"""Support clips of a base class at most: they are many, and their prototype settles early."""


def run(
    ground: Ground, ways: int = 5, shots: int = 1, queries: int = 1, episodes: int = 200, seed: int = 0
) -> list[Measure]:
    """Rows: base, novel and harmonic mean, and novel among the novel classes alone.

    Args:
        ground: of the splits train and test.
        ways: novel classes of an episode.
        shots: of a novel class.
        queries: of every class.
        episodes: how many.
        seed: of the list.

    Raises:
        ValueError: without base classes, or when classes have too few clips.
    """
    base, novel = ground.classes_of("train"), ground.classes_of("test")
    sizes = np.bincount(ground.labels, minlength=len(ground.class_names))
    base, novel = base[sizes[base] > queries], novel[sizes[novel] >= shots + queries]
    if not len(base) or len(novel) < ways:
        raise ValueError(
            f"generalized: {len(base)} base classes of more than {queries} clips and {len(novel)} novel ones of "
            f"{shots + queries} were found; it needs base classes (split train), and {ways} novel ones (--ways)."
        )
    base_shots = int(min(BASE_SHOTS, (sizes[base] - queries).min()))
    number = np.arange(episodes)
    words = hash_words(seed, number[:, None], np.arange(ways))
    chosen = novel[draw_distinct(words, np.full(episodes, len(novel)))]
    classes = np.concatenate([np.tile(base, (episodes, 1)), chosen], 1)
    counts = np.array([base_shots] * len(base) + [shots] * ways)
    support, query = draw_clips(ground.labels, classes, counts, queries, seed)
    labels = np.tile(np.repeat(np.arange(classes.shape[1]), queries), (episodes, 1))
    support_labels = np.tile(np.repeat(np.arange(classes.shape[1]), counts), (episodes, 1))
    logits = ground.score(Tasks(classes, support, support_labels, query, labels))
    right, is_base = logits.argmax(-1) == labels, labels < len(base)
    of_base, of_novel = ((right & some).sum(-1) / some.sum(-1) for some in (is_base, ~is_base))
    harmonic = 2 * of_base * of_novel / np.maximum(of_base + of_novel, 1e-12)
    alone = logits[..., len(base) :].argmax(-1) + len(base) == labels
    return [
        summarise_row(f"base ({len(base)} classes)", of_base),
        summarise_row(f"novel ({ways} classes)", of_novel),
        summarise_row("harmonic mean", harmonic),
        summarise_row("novel among novel alone", (alone & ~is_base).sum(-1) / (~is_base).sum(-1)),
    ]


def draw_clips(
    labels: Integers, classes: Integers, counts: Integers, queries: int, seed: int
) -> tuple[Integers, Integers]:
    """Distinct clips of classes ``(e n)``, class by class: support ``(e Σ counts)`` and queries ``(e n·q)``.

    The queries are drawn first, as everywhere, so that more shots add to the same episode.
    """
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=int(classes.max()) + 1)
    first = np.cumsum(sizes) - sizes
    most = int(counts.max()) + queries
    number, way = np.arange(len(classes))[:, None, None], np.arange(classes.shape[1])[:, None]
    words = hash_words(seed, number, way, np.arange(most))
    support, query = [], []
    for c in range(classes.shape[1]):
        need = int(counts[c]) + queries
        drawn = draw_distinct(words[:, c, :need], sizes[classes[:, c]])
        videos = order[first[classes[:, c]][:, None] + drawn]
        query.append(videos[:, :queries])
        support.append(videos[:, queries:])
    return np.concatenate(support, 1), np.concatenate(query, 1)
