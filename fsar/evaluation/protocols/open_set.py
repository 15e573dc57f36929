"""Open-set few-shot recognition: half of the queries are of classes that the support does not hold.

The metrics of FSOSAR (https://arxiv.org/abs/2603.04125), on any method's scores. An episode has n known classes with k
shots each, and as many classes that are unknown; each gives q queries. How sure a query is of being known is a number
r; the metrics, of each episode and then averaged::

    FS-ACC   share of the known queries that are named right
    OS-ACC   share of all queries of which r > 0.5 says rightly whether they are known, for an r that is a probability
    AUROC    probability that a known query has a larger r than an unknown one
    AUPR     area under precision and recall of finding the known by r
    OSCR     area under  share of known queries named right with r >= x   over   share of unknown with r >= x

AUROC and AUPR are torchmetrics'. The released code (hsp-iit/fsosar) takes the trapezia of AUPR, which flatters a
little. For OSCR it divides the unknown queries with r >= x by these and all unknown ones together: that share ends at
1/2, and a straight line to (1, 1) takes the place of the rest. "OSCR as released" is that number, to be held against
its tables; as a rule it is above the area that is meant.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from episodes.sampler import EpisodeSampler
from fsar.evaluation.protocols.ground import Ground, Integers, Measure, Tasks, Values, in_split, summarise_row
from fsar.evaluation.rejecting import background, fr_disc
from fsar.objectives import BackgroundText


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


def measure_oscr(sure: Values, right: NDArray[np.bool_], known: NDArray[np.bool_], released: bool = False) -> float:
    """Area under the curve of correct classification over false acceptance, of queries ``(q)``.

    Args:
        sure: r; queries of equal r are accepted together.
        right: a known query is named right.
        known: the query's class is in the support.
        released: as the code of FSOSAR counts it, see above.
    """
    order = np.argsort(-sure, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True))  # the last of each run of equals
    correct = np.cumsum((right & known)[order])[ends] / max(known.sum(), 1)
    unknown = np.cumsum(~known[order])[ends]
    if released:
        correct, accepted = np.append(correct, 1), np.append(unknown / (unknown + max((~known).sum(), 1)), 1)
    else:
        accepted = unknown / max((~known).sum(), 1)
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
    ground: Ground,
    ways: int = 5,
    shots: int = 1,
    queries: int = 1,
    episodes: int = 1000,
    seed: int = 0,
    fr_disc_episodes: int = 0,
    text: BackgroundText | None = None,
) -> list[Measure]:
    """Rows for every way to reject.

    Args:
        ground: of the split test, and of train for FR-Disc.
        ways: known classes; as many are unknown.
        shots: of a known class.
        queries: of every class.
        episodes: how many.
        seed: of the list.
        fr_disc_episodes: of the base classes, to train a discriminator on.
        text: a background text that the method was trained with.

    Raises:
        ValueError: when a split has too few classes.
    """
    mine = ground.labels[ground.videos_of("test")] - ground.parts["test"][0]
    have = int((np.bincount(mine, minlength=1) >= shots + queries).sum())
    if ways < 2:
        raise ValueError("open-set: among one known class nothing is named wrong: give --ways 2 or more.")
    if have < 2 * ways:
        raise ValueError(
            f"open-set: {ways} known and {ways} unknown classes need {2 * ways} classes of {shots + queries} clips, "
            f"but the split has {have}: "
            + (f"lower --ways to {have // 2}." if have >= 4 else "lower --shots or --queries, or bring more classes.")
        )
    drawn = draw_open(mine, ways, shots, queries, seed, episodes, names_of(ground, "test"))
    tasks = in_split(ground, "test", drawn)
    known = tasks.query_labels >= 0
    base = draw_base(ground, ways, shots, queries, seed, fr_disc_episodes) if fr_disc_episodes else None
    logits = ground.score(tasks)
    right = (logits.argmax(-1) == tasks.query_labels) & known
    found = {name: reject(logits) for name, reject in REJECTERS.items()}
    if text is not None:
        found["background text"] = background.judge(ground, text, tasks)
    if base is not None:
        found["FR-Disc"] = fr_disc.judge(ground, fr_disc.train(ground, base, seed), tasks)
    curves = {name: measure_curves(sure, right, known) for name, sure in found.items()}
    rows = [summarise_row("FS-ACC", right.sum(-1) / known.sum(-1))]
    for name, sure in found.items():
        if name in PROBABILITIES:
            rows.append(summarise_row(f"OS-ACC ({name})", ((sure > 0.5) == known).mean(-1)))
        rows += [summarise_row(f"{what} ({name})", values) for what, values in curves[name].items()]
    for what in ("AUROC", "OSCR"):
        best = max(REJECTERS, key=lambda name: curves[name][what].mean())
        for name in [name for name in found if name not in REJECTERS]:
            gain = curves[name][what] - curves[best][what]
            rows.append(summarise_row(f"{what} ({name}) - {what} ({best}, the best score), paired", gain))
    return rows


PROBABILITIES = ("probability", "background text", "FR-Disc")
"""Rejecters whose r lies between 0 and 1."""


def names_of(ground: Ground, split: str) -> tuple[str, ...]:
    """Names of the classes of one split."""
    return tuple(ground.class_names[c] for c in ground.classes_of(split))


def draw_base(ground: Ground, ways: int, shots: int, queries: int, seed: int, episodes: int) -> Tasks:
    """Open-set episodes of base classes: as many known ones, or half of what there is.

    Raises:
        ValueError: when there are fewer than four.
    """
    have = 0
    if "train" in ground.parts:
        labels = ground.labels[ground.videos_of("train")] - ground.parts["train"][0]
        have = int((np.bincount(labels, minlength=1) >= shots + queries).sum())
    if have < 4:
        raise ValueError(
            f"FR-Disc is trained on base classes, some of which play the unknown ones: it needs 4 of {shots + queries} "
            f"clips in the split train, which has {have}. Leave out --fr-disc, or lower --shots or --queries."
        )
    names = names_of(ground, "train")
    return in_split(ground, "train", draw_open(labels, min(ways, have // 2), shots, queries, seed, episodes, names))


def measure_curves(sure: Values, right: NDArray[np.bool_], known: NDArray[np.bool_]) -> dict[str, Values]:
    """AUROC, AUPR and OSCR of each episode of queries ``(e q)``, by name."""
    target = torch.from_numpy(known.astype(np.int64))
    # ranks of each episode: torchmetrics takes scores in 0..1 as they are and others through a sigmoid
    ranks = torch.from_numpy(np.stack([np.unique(x, return_inverse=True)[1] / len(x) for x in sure]))
    pairs = list(zip(ranks, target, strict=True))
    triples = list(zip(sure, right, known, strict=True))
    return {
        "AUROC": np.array([float(binary_auroc(r, t)) for r, t in pairs]),
        "AUPR": np.array([float(binary_average_precision(r, t)) for r, t in pairs]),
        "OSCR": np.array([measure_oscr(*each) for each in triples]),
        "OSCR as released": np.array([measure_oscr(*each, released=True) for each in triples]),
    }
