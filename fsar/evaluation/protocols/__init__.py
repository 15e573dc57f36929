"""Protocols beyond n ways of k shots, each a file with a function ``run(ground, ways, shots, queries, episodes, seed)``
that gives the rows of its table."""

from __future__ import annotations

from typing import NamedTuple


class Protocol(NamedTuple):
    """What ``fsar protocol`` needs to know of a protocol: its module, the splits it reads, and a line about it."""

    module: str
    splits: tuple[str, ...]
    summary: str


PROTOCOLS = {
    "open-set": Protocol("open_set", ("test",), "queries of classes that the support does not hold: AUROC, AUPR, OSCR"),
    "generalized": Protocol("generalized", ("train", "test"), "base and novel classes told apart together"),
    "all-way": Protocol("all_way", ("train", "test"), "all classes with 1 to 16 shots, base and novel"),
    "many-way": Protocol("many_way", ("test",), "5 classes, twice as many, ... up to all of the split"),
    "unequal": Protocol("unequal", ("test",), "as many shots on average, unequally shared"),
    "wrong-shot": Protocol("wrong_shot", ("test",), "one support clip is of another class"),
    "transductive": Protocol(
        "transductive", ("test",), "queries refine scores: against inductive and a bound, balanced and not"
    ),
    "over-time": Protocol("over_time", ("test",), "classes come one after the other, nothing is trained again"),
}


def count_needed(protocol: str, shots: int, queries: int) -> dict[str, int]:
    """How many clips a class needs to take part, by split."""
    needed = {
        "unequal": {"test": 2 * shots - 1 + queries},
        "generalized": {"train": 1 + queries, "test": shots + queries},
        "all-way": {"train": 1 + queries, "test": 1 + queries},  # of one shot; the rows tell how many classes have more
    }
    return needed.get(protocol, {"test": shots + queries})
