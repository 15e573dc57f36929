"""Open-set few-shot recognition: half of the queries are of classes that the support does not hold.

The metrics of FSOSAR (https://arxiv.org/abs/2603.04125), on any method's scores. An episode has n known classes with k
shots each, and as many classes that are unknown; each gives q queries. How sure a query is of being known is a number r
read off its logits; the metrics, of each episode and then averaged::

    OS-ACC   share of the known queries that are named right
    AUROC    probability that a known query has a larger r than an unknown one
    AUPR     area under precision and recall of finding the known by r
    OSCR     area under  share of known queries named right with r >= x   over   share of unknown with r >= x

AUROC and AUPR are torchmetrics'.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from episodes.sampler import EpisodeSampler
from fsar.evaluation.protocols.ground import Ground, Integers, Measure, Tasks, summarise_row

Values = NDArray[np.float64]


def largest_probability(logits: Values) -> Values:
    """The softmax's maximum."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    found: Values = 1 / shifted.sum(-1)
    return found


def largest_logit(logits: Values) -> Values:
    """How alike the nearest class is, whatever the others are."""
    found: Values = logits.max(-1)
    return found


def margin(logits: Values) -> Values:
    """By how much the nearest class is before the second."""
    ordered = np.sort(logits, -1)
    found: Values = ordered[..., -1] - ordered[..., -2]
    return found


REJECTERS: dict[str, Callable[[Values], Values]] = {
    "probability": largest_probability,
    "logit": largest_logit,
    "margin": margin,
}
"""Ways to read off logits ``(... q n)`` how sure a query is of being known, ``(... q)``."""


def measure_oscr(sure: Values, right: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    """Area under the curve of correct classification over false acceptance, of queries ``(q)``.

    Args:
        sure: r; queries of equal r are accepted together.
        right: a known query is named right.
        known: the query's class is in the support.
    """
    order = np.argsort(-sure, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True))  # the last of each run of equals
    correct = np.cumsum((right & known)[order])[ends] / max(known.sum(), 1)
    accepted = np.cumsum(~known[order])[ends] / max((~known).sum(), 1)
    return float(np.trapezoid(np.append(0, correct), np.append(0, accepted)))


def draw_open(
    labels: Integers, ways: int, shots: int, queries: int, seed: int, episodes: int, names: tuple[str, ...]
) -> Tasks:
    """Episodes of ``ways`` known and as many unknown classes; queries of unknown ones have label -1."""
    sampler = EpisodeSampler(labels, 2 * ways, shots, queries, seed, names, drop_small_classes=True)
    classes, support, query = sampler.episodes(np.arange(episodes))
    truth = np.repeat(np.arange(2 * ways), queries)
    truth = np.where(truth < ways, truth, -1)
    return Tasks(
        classes[:, :ways],
        support[:, : ways * shots],
        np.tile(np.repeat(np.arange(ways), shots), (episodes, 1)),
        query,
        np.tile(truth, (episodes, 1)),
    )


def run(
    ground: Ground, ways: int = 5, shots: int = 1, queries: int = 1, episodes: int = 1000, seed: int = 0
) -> list[Measure]:
    """Rows for every way to reject.

    Raises:
        ValueError: when the split has fewer than twice as many classes as ways.
    """
    have = int((np.bincount(ground.labels) >= shots + queries).sum())
    if have < 2 * ways:
        raise ValueError(
            f"open-set: {ways} known and {ways} unknown classes need {2 * ways} classes of {shots + queries} clips, "
            f"but the split has {have}: lower --ways to {have // 2}."
        )
    tasks = draw_open(ground.labels, ways, shots, queries, seed, episodes, ground.class_names)
    known = tasks.query_labels >= 0
    logits = ground.score(tasks._replace(query_labels=np.maximum(tasks.query_labels, 0)))
    right = (logits.argmax(-1) == tasks.query_labels) & known
    rows = [summarise_row("OS-ACC", right.sum(-1) / known.sum(-1))]
    for name, reject in REJECTERS.items():
        sure = reject(logits)
        target = torch.from_numpy(known.astype(np.int64))
        # ranks of each episode: torchmetrics takes scores in 0..1 as they are and others through a sigmoid
        ranks = torch.from_numpy(np.stack([np.unique(x, return_inverse=True)[1] / len(x) for x in sure]))
        pairs = list(zip(ranks, target, strict=True))
        rows.append(summarise_row(f"AUROC ({name})", [float(binary_auroc(r, t)) for r, t in pairs]))
        rows.append(summarise_row(f"AUPR ({name})", [float(binary_average_precision(r, t)) for r, t in pairs]))
        triples = zip(sure, right, known, strict=True)
        rows.append(summarise_row(f"OSCR ({name})", [measure_oscr(s, r, k) for s, r, k in triples]))
    return rows
