"""``fsar test --splits N``: one method on several class splits of one's own clips, every clip encoded once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.features import made_from
from episodes.sampler import EpisodeSampler
from episodes.splits.drawing import Classes, Drawn, classes_of, draw_splits, with_lists
from episodes.words import pluralise
from fsar.build import Built, build_with_trainer
from fsar.commands.data.random_splits import tell_groups
from fsar.evaluation.accuracy import Accuracy
from fsar.evaluation.comparing.over_splits import OverSplits, summarise_splits
from fsar.evaluation.marks import marks, record_marks
from fsar.evaluation.protocols.ground import Ground, as_tasks, lay_ground, measure_accuracy, summarise_row
from fsar.evaluation.provenance import commit, versions
from fsar.evaluation.results import texts_record, write_json
from fsar.terminal.failure import Options, one_message
from fsar.terminal.shown import shown
from fsar.training.joining import check_queries, check_said

RUNS = "runs/%Y-%m-%d_%H-%M-%S"
INTERVALS = {
    "interval_over_splits": "95 %, over class splits: how the mean would move with other classes",
    "interval_95": "95 %, of one split, over its episodes: other classes are not in it",
}


@one_message(program="fsar test --splits")
def main(args: Sequence[str]) -> None:
    """Parse, encode all clips, score every split, print and keep."""
    parser = Options(__doc__, prog="fsar test --splits")
    parser.add_argument("--splits", type=int, required=True, help="class splits that are drawn")
    parser.add_argument("--splits_seed", type=int, default=0, help="the first seed; split i is data.benchmark.seed")
    parser.add_argument("--test_shots", type=int, nargs="+", default=[], help="several of them")
    own, rest = parser.parse_known_args(list(args))
    built = build_with_trainer(rest, "fsar test --splits")
    refuse_trained(built)
    data: Any = built.data
    source: Any = data.benchmark
    classes = classes_of(source)
    what = f"{pluralise(len(classes.names), 'class')} of {source.name}"
    drawn = draw_splits(classes, own.splits, own.splits_seed, source.fractions, what)
    shots = own.test_shots or [data.test_shots]
    ways, queries, episodes = data.test_ways, data.test_queries, data.test_episodes
    data.benchmark, data._benchmark = with_lists(source, [], [], classes.names), None
    listed = np.array(data.load().test.labels)
    for each in drawn:  # before anything is encoded
        for k in shots:
            sampler_of(listed, classes, each, (ways, k, queries, data.test_seed))
    check_said(built.learner.method, classes.names)
    check_queries(built.learner.method, queries)
    ground = encode_all(built)
    out = Path(built.config["run"] or time.strftime(RUNS))
    for k in shots:
        rows = [test_split(ground, classes, each, (ways, k, queries, episodes, data.test_seed)) for each in drawn]
        share = float(np.mean([len(each.classes["test"]) for each in drawn])) / len(classes.names)
        over = summarise_splits([row["accuracy"] for row in rows], share)
        facts = record(built, classes, rows, over, {"ways": ways, "shots": k, "queries": queries, "test_share": share})
        target = out / "splits" / f"test_{ways}way_{k}shot" / "results.json"
        write_json(target, facts)
        tell(rows, over, f"test: {ways}-way {k}-shot accuracy", facts)
        print(shown(f"* {tell_groups(classes)}\nresults: {target}"))


def refuse_trained(built: Built) -> None:
    """Raises ValueError for a method that was trained on some of the classes, or that draws pairs of opposites."""
    if seen := built.learner.trained_classes:
        raise ValueError(
            f"--splits draws its test classes from all, and this run was trained on {len(seen)} of them "
            f"({seen[0]}, ...): test what is not trained, or train on each split of `fsar splits --random`."
        )
    if built.data.opposites:
        raise ValueError("--splits draws classes, not pairs of opposites: leave out data.opposites.")
    if built.data.features is not None and not hasattr(built.data.benchmark, "imported"):
        raise ValueError(
            "--splits encodes the clips of all splits, and data.features holds those of one division: leave it out. "
            "What is encoded is kept in the cache for the next time."
        )


def encode_all(built: Built) -> Ground:
    """All clips of all classes, each encoded once."""
    data = built.data
    data.test_ways, data.test_shots, data.test_queries = 2, 1, 1  # each split has its own
    data.drop_small_classes, data.trainer = True, built.trainer
    built.trainer.strategy.connect(built.learner)
    built.learner.trainer = built.trainer
    return lay_ground(built.learner.to(built.trainer.strategy.root_device), data, ("test",))


def test_split(ground: Ground, classes: Classes, drawn: Drawn, asked: tuple[int, int, int, int, int]) -> dict[str, Any]:
    """One split as ``fsar test --data.benchmark.seed`` tests it: the same episodes, the same accuracy.

    Args:
        ground: with the videos of all classes.
        classes: in the order of the ground's.
        drawn: the division.
        asked: ways, shots, queries, episodes, seed of the episodes.

    Raises:
        ValueError: when the split cannot give such episodes, naming it.
    """
    ways, shots, queries, episodes, seed = asked
    sampler, mine, videos = sampler_of(ground.labels, classes, drawn, (ways, shots, queries, seed))
    tasks = as_tasks(sampler, episodes)
    tasks = tasks._replace(classes=mine[tasks.classes], support=videos[tasks.support], query=videos[tasks.query])
    row = summarise_row("", measure_accuracy(ground.score(tasks), tasks.query_labels))
    about = {"seed": drawn.seed, "classes": drawn.classes, "episodes_sha256": sampler.fingerprint(episodes)}
    return {**about, "accuracy": row.mean, "interval_95": row.interval, "episodes": row.episodes}


def sampler_of(
    found: Any, classes: Classes, drawn: Drawn, asked: tuple[int, int, int, int]
) -> tuple[EpisodeSampler, Any, Any]:
    """Episodes of the test classes of one split.

    Args:
        found: ``(v)`` the class of every video, as a number of ``classes``.
        classes: all of them.
        drawn: the division.
        asked: ways, shots, queries, seed of the episodes.

    Returns:
        The sampler; ``(C)`` which of all classes are its own; ``(v)`` which of all videos.

    Raises:
        ValueError: when the split cannot give such episodes, naming it.
    """
    ways, shots, queries, seed = asked
    number = {name: i for i, name in enumerate(classes.names)}
    mine = np.array([number[name] for name in drawn.classes["test"]])
    videos = np.concatenate([np.flatnonzero(found == c) for c in mine])
    labels = np.repeat(np.arange(len(mine)), [int((found == c).sum()) for c in mine])
    try:
        sampler = EpisodeSampler(labels, ways, shots, queries, seed, drawn.classes["test"], prefix="test_")
    except ValueError as error:
        raise ValueError(f"the classes drawn by seed {drawn.seed}: {error}") from error
    return sampler, mine, videos


def tell(rows: Sequence[dict[str, Any]], over: OverSplits, what: str, facts: dict[str, Any]) -> None:
    """A line for each split, and the one number, with what each interval is over."""
    for row in rows:
        test = row["classes"]["test"]
        one = Accuracy(row["accuracy"], row["interval_95"], row["episodes"])
        print(shown(f"seed {row['seed']:>3}: {one}, test classes: {', '.join(test[:4])}{', ...' * (len(test) > 4)}"))
    mark = f", {words}" if (words := marks(facts)) else ""
    chance = 1 / facts["ways"]
    print(f"\n{what} {over}{mark}")
    if abs(over.mean - chance) <= over.interval:
        print(f"chance ({100 * chance:.3g} %) is not ruled out")
    print("± of a split is over its episodes; that of the mean is over splits, and speaks of other classes")


def record(
    built: Built, classes: Classes, rows: list[dict[str, Any]], over: OverSplits, asked: dict[str, Any]
) -> dict[str, Any]:
    """What is kept."""
    method, data = built.learner.method, built.data
    benchmark = data.load()
    return {
        "method": type(method).__name__,
        **record_marks(method, asked),
        "accuracy": over.mean,
        "interval_over_splits": over.interval,
        "deviation_over_splits": over.deviation,
        "intervals": INTERVALS,
        **asked,
        "splits": rows,
        "groups": tell_groups(classes),
        "benchmark": benchmark.name,
        "benchmark_sha256": benchmark.fingerprint(),
        **benchmark.facts,
        **made_from(data.clips(data.splits["test"], several=True)),
        "encoder_sha256": method.encoder.fingerprint(trained=True),
        **texts_record(method),
        "config": built.config,
        "commit": commit(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
