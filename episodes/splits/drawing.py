"""Several class splits of one's own clips, drawn by seeds: what a number would be with other test classes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

from episodes.listing import normal, resolve
from episodes.splits.dividing import Fractions, divide
from episodes.splits.folder import Folder, folders_of
from episodes.splits.rows import read_rows
from episodes.splits.table import Table, tie_labels
from episodes.words import pluralise

TRIES = 50
"""Seeds that are tried for each split that is asked for, before there are said to be no more."""


class Classes(NamedTuple):
    """All classes of a source of clips.

    Attributes:
        names: as lists of the source name them.
        tied: sets of classes that share groups, so that each goes to one split as a whole.
        grouped: whether the source says which clips are of one group.
    """

    names: list[str]
    tied: list[set[str]]
    grouped: bool


class Drawn(NamedTuple):
    """One division: what ``data.benchmark.seed`` of that number draws, with the names of train, val and test."""

    seed: int
    classes: dict[str, list[str]]


def classes_of(source: object) -> Classes:
    """The classes that a source divides, or has divided by lists.

    Raises:
        ValueError: for a source whose splits are published, or whose lists name single clips.
    """
    if isinstance(source, Folder):
        found, tied, grouped, what = folders_of(source.root), list[set[str]](), False, "class folder"
        if any(isinstance(classes, dict) for classes in source.lists.values()):
            raise ValueError("Folder: train, val and test name single clips; splits are drawn of lists of classes.")
        root: object = source.root
    elif isinstance(source, Table):
        clips = source.clips(read_rows(source.file, source.columns))
        found, tied, what, root = list(dict.fromkeys(clip.label for clip in clips)), tie_labels(clips), "label", source
        grouped, root = any(clip.row.values.get("group") for clip in clips), source.file
    else:
        raise ValueError(
            f"splits are drawn of clips of your own (episodes.splits.Folder, Table); those of {type(source).__name__} "
            "are published, and are what its numbers are compared on."
        )
    if source.lists:
        listed = [name for classes in source.lists.values() for name in classes]
        found = resolve(listed, found, what, root)  # type: ignore[arg-type]
    return Classes(found, tied, grouped)


def draw_splits(classes: Classes, count: int, seed: int, fractions: Fractions, what: str) -> list[Drawn]:
    """So many divisions with different test classes, by ``seed`` and the numbers after it; those that would test the
    same classes as an earlier one are passed over.

    Args:
        classes: that are divided.
        count: of divisions.
        seed: the first that is tried.
        fractions: shares of train, val and test.
        what: which classes they are, for messages.

    Raises:
        ValueError: when there are not so many different ones.
    """
    if count < 2:
        raise ValueError(f"{pluralise(count, 'split')} asked for; an interval over splits needs 2 or more.")
    found: dict[frozenset[str], Drawn] = {}
    for each in range(seed, seed + TRIES * count):
        drawn = Drawn(each, divide(classes.names, each, fractions, what, classes.tied))
        if len(drawn.classes["test"]) < 2:
            raise ValueError(
                f"{what} and fractions {fractions} leave {len(drawn.classes['test'])} to test; expected 2."
            )
        found.setdefault(frozenset(map(normal, drawn.classes["test"])), drawn)
        if len(found) == count:
            return list(found.values())
    ties = " Classes that share groups stay together." if classes.tied else ""
    raise ValueError(
        f"{what} give only {len(found)} different sets of test classes by fractions {fractions}, but {count} splits "
        f"were asked for: ask for at most {len(found)}.{ties}"
    )


def with_lists(source: Folder | Table, train: Sequence[str], val: Sequence[str], test: Sequence[str]) -> Folder | Table:
    """The same source with its classes divided by lists."""
    other: Any = copy.copy(source)
    other.seed, other.lists = None, {"train": list(train), "val": list(val), "test": list(test)}
    found: Folder | Table = other
    return found
