"""Transductive refinement against the inductive number and a bound, with balanced and unbalanced queries, all paired.

A refinement may owe its gain to knowing that classes are as frequent among the queries. So the same episodes are asked
with as many queries of each class, and with shares drawn from a Dirichlet distribution (Veilleux et al. 2021,
"Realistic Evaluation of Transductive Few-Shot Learning", https://arxiv.org/abs/2204.11181): shares ~ Dir(2, ..., 2), as
many queries in all, rounded by the largest remainders; a class gives no more than it has. The bound reads the queries'
labels (:class:`fsar.refinement.Oracle`): what is between it and the inductive number is what prototypes of few shots
lack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from episodes.sampler import EpisodeSampler, draw_distinct, hash_words
from fsar.evaluation.protocols.ground import (
    Ground,
    Measure,
    Tasks,
    as_tasks,
    count_usable,
    measure_accuracy,
    summarise_row,
)
from fsar.refinement import Laplacian, Oracle, PseudoLabels, Refinement, Trace, Transport

CONCENTRATION = 2.0
Integers = NDArray[np.int64]


def share_queries(room: Integers, total: int, seed: int, concentration: float = CONCENTRATION) -> Integers:
    """How many queries each class of each episode gives.

    Args:
        room: ``(e n)``, how many clips each could give.
        total: of an episode; no more than it has room for.
        seed: of the shares.
        concentration: of the Dirichlet distribution; large for nearly equal shares.

    Returns:
        ``(e n)``, each row of sum ``total``.
    """
    counts = np.empty_like(room)
    for e, most in enumerate(room):
        shares = np.random.default_rng([seed, e]).dirichlet([concentration] * len(most)) * total
        found = np.minimum(np.floor(shares).astype(np.int64), most)
        while (left := total - int(found.sum())) > 0:
            open_ = np.flatnonzero(found < most)
            nearest = open_[np.argsort(found[open_] - shares[open_], kind="stable")][:left]
            found[nearest] += 1
        counts[e] = found
    return counts


def draw_unequal(ground: Ground, ways: int, shots: int, queries: int, episodes: int, seed: int) -> Tasks:
    """Episodes of ``ways · queries`` queries whose classes are not as frequent; classes and support are those of the
    balanced ones of the seed."""
    sampler = EpisodeSampler(ground.labels, ways, shots, queries, seed, ground.class_names, drop_small_classes=True)
    classes, support, _ = sampler.episodes(np.arange(episodes))
    sizes = np.bincount(ground.labels, minlength=len(ground.class_names))
    counts = share_queries(sizes[classes] - shots, ways * queries, seed)
    query, labels = [], []
    for e in range(episodes):
        drawn, truth = [], np.repeat(np.arange(ways), counts[e])
        for n, c in enumerate(classes[e]):
            free = np.setdiff1d(np.flatnonzero(ground.labels == c), support[e])
            words = hash_words(seed + 1, e, n, np.arange(counts[e, n])) if counts[e, n] else np.zeros(0, np.uint64)
            drawn.append(free[draw_distinct(words[None], np.array([len(free)]))[0]])
        query.append(np.concatenate(drawn))
        labels.append(truth)
    shown = np.tile(sampler.support_labels, (episodes, 1))
    return Tasks(classes, support, shown, np.stack(query), np.stack(labels))


def run(
    ground: Ground, ways: int = 5, shots: int = 1, queries: int = 15, episodes: int = 500, seed: int = 0
) -> list[Measure]:
    """Rows for both kinds of queries: inductive, each refinement with its gain, the bound and what is left to it.

    Raises:
        ValueError: for a method that cannot be refined.
    """
    count_usable(ground, shots + queries, ways)
    method = ground.method
    own = getattr(method, "refinement", None)
    tried: list[Refinement] = [own] if own is not None else [PseudoLabels(), Trace(), Laplacian(), Transport()]
    sampler = EpisodeSampler(ground.labels, ways, shots, queries, seed, ground.class_names, drop_small_classes=True)
    rows = []
    draws = {
        "balanced": as_tasks(sampler, episodes),
        f"Dirichlet({CONCENTRATION:g})": draw_unequal(ground, ways, shots, queries, episodes, seed),
    }
    method.refine_with(tried[0])  # refuses before anything is scored
    for kind, tasks in draws.items():

        def measure(refinement: Refinement | None, tasks: Tasks = tasks) -> NDArray[np.float64]:
            method.refinement = refinement
            return measure_accuracy(ground.score(tasks), tasks.query_labels)

        plain, bound = measure(None), measure(Oracle())
        rows += [summarise_row(f"{kind}: inductive", plain)]
        for refinement in tried:
            name, found = type(refinement).__name__, measure(refinement)
            rows += [
                summarise_row(f"{kind}: {name}", found),
                summarise_row(f"{kind}: {name} - inductive, paired", found - plain),
                summarise_row(f"{kind}: oracle - {name}, paired", bound - found),
            ]
        rows += [summarise_row(f"{kind}: oracle (reads labels)", bound)]
    method.refinement = own
    return rows
