"""Published lists of a protocol by name: videos of the data set that lies at hand, as splits beside its own.

Xian's base test clips (generalized), ViFi-CLIP's 2-, 4-, 8- and 16-shot and base-to-novel lists (all-way). What is
known to be wrong with a list is told and recorded, and how many of its videos were there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from episodes.benchmarks.disk import find_all
from episodes.benchmarks.further import further, further_lists, read_part
from episodes.benchmarks.further.reading import Classes
from episodes.benchmarks.further.source import make_split
from episodes.benchmarks.lists import video_id, youtube_id
from episodes.splits import Benchmark, Split
from episodes.words import pluralise
from fsar.evaluation.protocols.ground import Ground, Measure, Tasks, Values, summarise_row

OF_SHOTS = re.compile(r"train_\d+|base_s\d|val1|validation|base_val|novel_val")
"""Parts of ViFi-CLIP's lists that are read; val2 and val3 share clips with the lists of shots."""

AT_ONCE = 256
"""Queries of a list that are scored together."""


def base_test(name: str, lists: Path, benchmark: Benchmark, allow_missing: bool) -> tuple[Split, dict[str, Any]]:
    """Xian's clips of base classes that are no training clips, in the order of the benchmark's training classes.

    Args:
        name: of the lists, such as ``kinetics100_xian_generalized``; with ``_unseen`` those without recordings that
            training has.
        lists: folder or file of them.
        benchmark: whose training classes they are of; the videos lie under the same root.
        allow_missing: run although videos are not there.

    Raises:
        ValueError: lists of another protocol, or of other classes.
    """
    known = further(name)
    if "base_test" not in known.parts:
        raise ValueError(f"{name} has no base test clips; generalized reads {_names('base_test')}.")
    read = read_part(known, "base_test", lists)
    classes = in_order(read.classes, benchmark.train.class_names, name)
    taken = 0
    if known.cleaned == "unseen":
        seen = {youtube_id(video_id(path))[0] for path in benchmark.train.paths}
        kept = {c: [v for v in videos if youtube_id(v)[0] not in seen] for c, videos in classes.items()}
        taken = sum(map(len, classes.values())) - sum(map(len, kept.values()))
        classes = kept
    split, facts = on_disk(name, "base_test", classes, benchmark.train.root, allow_missing)
    return split, {**facts, "changes": read.changes, **({"left_out": taken} if known.cleaned else {})}


def in_order(classes: Classes, names: tuple[str, ...], what: str) -> Classes:
    """A list's classes as the benchmark numbers them: by name, or by number where a list has no names.

    Raises:
        ValueError: when they are not the same classes.
    """
    if all(name.isdecimal() for name in classes):
        found = {int(name): videos for name, videos in classes.items()}
    else:
        place = {strip_marks(name): i for i, name in enumerate(names)}
        found = {place.get(strip_marks(name), -1): videos for name, videos in classes.items()}
    if sorted(found) != list(range(len(names))) or len(found) != len(classes):
        lacking = next(
            (n for n in classes if not n.isdecimal() and strip_marks(n) not in set(map(strip_marks, names))), ""
        )
        raise ValueError(
            f"{what} is of {len(classes)} classes, and the training split of the data has {len(names)}"
            + (f"; '{lacking}' is not among them" if lacking else "")
            + ": give the data of the benchmark that these lists belong to."
        )
    return {names[i]: found[i] for i in range(len(names))}


def strip_marks(name: str) -> str:
    """A class's name as its letters and digits, in small."""
    return re.sub(r"[\W_]+", "", name.lower())


def of_shots(
    name: str, lists: Path, benchmark: Benchmark, allow_missing: bool
) -> tuple[dict[str, Split], dict[str, Any]]:
    """ViFi-CLIP's lists: those of shots, the clips to name and, base to novel, the novel ones.

    Raises:
        ValueError: lists of another protocol.
    """
    known = further(name)
    parts = [part for part in known.parts if OF_SHOTS.fullmatch(part)]
    if not any(part.startswith(("train_", "base_s")) for part in parts):
        raise ValueError(f"{name} has no lists of shots; all-way reads {_names('train_16')}, {_names('base_s1')}.")
    root = (benchmark.train if len(benchmark.train) else benchmark.test).root
    splits: dict[str, Split] = {}
    changes: list[str] = []
    coverage: dict[str, dict[str, int]] = {}
    facts: dict[str, Any] = {}
    order: list[str] = []
    for part in parts:
        read = read_part(known, part, lists)
        if not part.startswith("novel"):
            order = order or sorted(read.classes, key=lambda c: (len(c), c) if c.isdecimal() else (0, c))
            read = read._replace(classes={c: read.classes[c] for c in order})
        splits[part], facts = on_disk(name, part, read.classes, root, allow_missing)
        changes += read.changes
        coverage[part] = facts["coverage"][part]
    return splits, {**facts, "changes": changes, "coverage": coverage}


def on_disk(name: str, part: str, classes: Classes, root: Path, allow_missing: bool) -> tuple[Split, dict[str, Any]]:
    """A part of a list on the videos that are there, and what a result says of it."""
    known = further(name)
    wanted = [video for videos in classes.values() for video in videos]
    found = find_all(root, wanted, known.dataset, f"{name}, {part}", allow_missing)
    facts = {
        "list": name,
        "list_source": known.repository,
        "list_sha256": {part: facts.sha256 for part, facts in known.parts.items()},
        "list_faults": list(known.faults),
        "coverage": {part: found.count(wanted)},
    }
    return make_split(part, classes, found, root), facts


def score_lists(ground: Ground) -> list[Measure]:
    """A row for every list of shots: all clips to name among all classes, with the interval over these clips."""
    (query,) = [part for part in ("val1", "validation", "base_val") if part in ground.parts]
    rows = []
    for part in [part for part in ground.parts if part.startswith(("train_", "base_s"))]:
        right = name_all(ground, part, query)
        ways = ground.parts[part][1]
        shots = len(ground.videos_of(part)) / ways
        row = summarise_row(f"{part}: {shots:g}-shot, {ways} classes, {query}", right)
        rows.append(row._replace(unit="clips"))
    return rows


def name_all(ground: Ground, shots: str, query: str) -> Values:
    """1 for every clip of one split that is named right by the clips of another of the same classes, else 0."""
    classes, support, asked = ground.classes_of(shots), ground.videos_of(shots), ground.videos_of(query)
    labels, truth = (ground.labels[x] - ground.parts[part][0] for x, part in ((support, shots), (asked, query)))
    order = np.argsort(labels, kind="stable")
    found = []
    for start in range(0, len(asked), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        tasks = Tasks(classes[None], support[order][None], labels[order][None], asked[some][None], truth[some][None])
        found.append(ground.score(tasks)[0].argmax(-1) == truth[some])
    right: Values = np.concatenate(found).astype(np.float64)
    return right


def _names(part: str) -> str:
    return ", ".join(name for name, known in further_lists().items() if part in known.parts)


def notes(facts: Mapping[str, Any]) -> list[str]:
    """What a user is told of lists."""
    told = [f"{facts['list']}: {fault}" for fault in facts["list_faults"]]
    told += [f"{facts['list']}: not as published: {change}" for change in facts["changes"]]
    for part, count in facts["coverage"].items():
        if count["found"] < count["listed"]:
            told.append(f"{facts['list']}, {part}: found {count['found']:,} of {pluralise(count['listed'], 'video')}")
    if "left_out" in facts:
        told.append(f"{facts['list']}: left out {pluralise(facts['left_out'], 'clip')} of recordings that training has")
    return told
