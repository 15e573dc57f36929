"""Generalized few-shot recognition: base and novel classes are told apart together.

Xian et al. 2021, "Generalized Few-Shot Video Classification with Video Retrieval and Feature Generation",
https://arxiv.org/abs/2007.04755. Every class of the training split (base) and some novel ones stand side by side; the
base classes' support are clips that were trained on, their queries clips that were not: those of Xian's lists, where
they were given, else a seeded share of each base class's clips. (A run that was trained on all clips of the base
classes has seen the latter: its base number flatters, and a note says so.)

    base, novel   share of their queries named right among all classes;   HM = 2 base novel / (base + novel)
"""

from __future__ import annotations

import numpy as np

from episodes.sampler import draw_distinct, hash_words
from episodes.words import pluralise
from fsar.evaluation.protocols.ground import Ground, Integers, Measure, Tasks, summarise_row

BASE_SHOTS = 10
"""Support clips of a base class at most: they are many, and their prototype settles early."""


def run(
    ground: Ground, ways: int = 5, shots: int = 1, queries: int = 1, episodes: int = 200, seed: int = 0
) -> list[Measure]:
    """Rows: base, novel and harmonic mean, and novel among the novel classes alone.

    Args:
        ground: of the splits train and test, and base_test where there are lists of it.
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
    asked = ground.classes_of("base_test") if "base_test" in ground.parts else base
    kept_out = queries if asked is base else 0
    there = (sizes[asked] >= queries) & (sizes[base] > kept_out)
    asked, base, novel = asked[there], base[there], novel[sizes[novel] >= shots + queries]
    if not len(base) or len(novel) < ways:
        raise ValueError(
            f"generalized: {pluralise(len(base), 'base class')} of more than {pluralise(queries, 'clip')} and "
            f"{len(novel)} novel ones of "
            f"{shots + queries} were found; it needs base classes (split train), and {ways} novel ones (--ways)."
        )
    base_shots = int(min(BASE_SHOTS, (sizes[base] - kept_out).min()))
    number = np.arange(episodes)
    words = hash_words(seed, number[:, None], np.arange(ways))
    chosen = novel[draw_distinct(words, np.full(episodes, len(novel)))]
    classes = np.concatenate([np.tile(base, (episodes, 1)), chosen], 1)
    counts = np.array([base_shots] * len(base) + [shots] * ways)
    support, query = draw_clips(ground.labels, classes, counts, np.repeat([kept_out, queries], [len(base), ways]), seed)
    if not kept_out:
        named = np.tile(asked, (episodes, 1))
        _, of_base = draw_clips(ground.labels, named, np.zeros_like(asked), np.full(len(asked), queries), seed)
        query = np.concatenate([of_base, query], 1)
    labels = np.tile(np.repeat(np.arange(classes.shape[1]), queries), (episodes, 1))
    support_labels = np.tile(np.repeat(np.arange(classes.shape[1]), counts), (episodes, 1))
    logits = ground.score(Tasks(classes, support, support_labels, query, labels))
    right, is_base = logits.argmax(-1) == labels, labels < len(base)
    of_base, of_novel = ((right & some).sum(-1) / some.sum(-1) for some in (is_base, ~is_base))
    harmonic = 2 * of_base * of_novel / np.maximum(of_base + of_novel, 1e-12)
    alone = logits[..., len(base) :].argmax(-1) + len(base) == labels
    return [
        summarise_row(f"base ({pluralise(len(base), 'class')})", of_base),
        summarise_row(f"novel ({pluralise(ways, 'class')})", of_novel),
        summarise_row("harmonic mean", harmonic),
        summarise_row("novel among novel alone", (alone & ~is_base).sum(-1) / (~is_base).sum(-1)),
    ]


def draw_clips(
    labels: Integers, classes: Integers, counts: Integers, queries: Integers, seed: int
) -> tuple[Integers, Integers]:
    """Distinct clips of classes ``(e n)``, class by class: support ``(e Σ counts)`` and queries ``(e Σ queries)``.

    The queries are drawn first, as everywhere, so that more shots add to the same episode.
    """
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=int(classes.max()) + 1)
    first = np.cumsum(sizes) - sizes
    most = int((counts + queries).max())
    number, way = np.arange(len(classes))[:, None, None], np.arange(classes.shape[1])[:, None]
    words = hash_words(seed, number, way, np.arange(most))
    support, query = [], []
    for c in range(classes.shape[1]):
        asked = int(queries[c])
        need = int(counts[c]) + asked
        drawn = draw_distinct(words[:, c, :need], sizes[classes[:, c]])
        videos = order[first[classes[:, c]][:, None] + drawn]
        query.append(videos[:, :asked])
        support.append(videos[:, asked:])
    return np.concatenate(support, 1), np.concatenate(query, 1)
