"""A list of files and labels as a benchmark: clips that lie in no class folders, and clips that are parts of files."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from episodes.listing import Name, Twice, as_names, resolve
from episodes.listing.span import Span
from episodes.splits.dividing import check_options, divide, explain_root, settle_splits
from episodes.splits.rows import COLUMNS, Row, read_rows
from episodes.splits.split import Benchmark, Split, refuse_shared
from episodes.video import VideoError, VideoInfo, probe
from episodes.video.packed import is_packed, place_of
from episodes.words import pluralise

SPLITS = ("train", "val", "test")
WAY_OUT = "Take one of each out of the table, or set data.benchmark.twice: drop leaves them out, keep takes them all."
READING = 8
"""Files that are looked at together for their lengths."""


class ListedClip(NamedTuple):
    """A row that was understood; ``path`` ends in the span of a part."""

    row: Row
    path: str
    span: Span | None

    @property
    def label(self) -> str:
        return self.row.values["label"]

    @property
    def file(self) -> str:
        return self.row.values["file"]


class Table:
    """Your own clips by a list: a CSV, TSV, parquet or JSON file with one row for each clip.

    Columns are ``file`` and ``label``, and where they are there ``split`` (train, val or test), ``group``, ``start``
    and ``end`` (seconds; the clip is that part of the file) and ``description`` (what a text encoder reads for the
    label, the same in all its rows; otherwise the label, underscores as spaces). Others are not read. Classes go to the
    splits by the column ``split``, by three lists, or by a seed. Clips of one group, as of one person or one recording,
    never stand in two splits: a seed draws classes that share a group together, and a list that parts them is refused.

    Args:
        file: the table. Parquet needs pyarrow.
        root: the folder that the files' paths start from; by default the table's own.
        train: labels of the training classes, in place of a column ``split``.
        val: of the validation classes; ``[]`` for none, and then the last checkpoint is kept instead of the best.
        test: of the test classes.
        seed: divides the classes at random; with the same seed and without groups as ``Folder`` does.
        fractions: shares of train, val and test classes when divided at random; they add up to 1.
        columns: ``{label: category}`` for columns with names of their own; ``{group: null}`` not to read one.
        name: of the benchmark in results; the file's name when left out.
        twice: what becomes of clips that are there twice, as copies or as parts of a file that overlap. "tell": those
            in one class are told and taken; those in two classes, which may be two splits, are refused. "drop": one of
            a class is taken, and none of those in two classes. "keep": all are taken. Results list them.

    Raises:
        ValueError: for a row or option that makes no sense; the message names the row.
        FileNotFoundError: when the table, or a file in it, is missing.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        train: list[Name] | None = None,
        val: list[Name] | None = None,
        test: list[Name] | None = None,
        seed: int | None = None,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        columns: dict[str, str | None] | None = None,
        name: str | None = None,
        twice: Twice = "tell",
    ) -> None:
        check_options("Table", fractions, twice)
        given = {key: value for key, value in zip(SPLITS, (train, val, test), strict=True) if value is not None}
        lists = {key: as_names(value, f"Table: {key}") for key, value in given.items()}
        if lists and len(lists) < 3:
            missing = ", ".join(key for key in SPLITS if key not in lists)
            raise ValueError(f"Table: {missing} not given. List the classes of train, val and test (val: [] for none).")
        if lists and seed is not None:
            raise ValueError("Table: give either lists of classes or a seed, not both.")
        self.file, self.lists, self.seed, self.fractions = Path(file), lists, seed, fractions
        self.root = self.file.parent if root is None else Path(root)
        self.columns, self.name, self.twice = columns or {}, name or self.file.stem, twice

    def load(self) -> Benchmark:
        """Reads the table and looks at the files: all are there, and spans lie within them. Gives a Benchmark."""
        if not self.file.is_file():
            raise FileNotFoundError(f"there is no table {self.file}. {explain_root(self.file, 'file')}")
        if not self.root.is_dir():
            raise FileNotFoundError(f"there is no folder {self.root}. {explain_root(self.root)}")
        clips = self.clips(read_rows(self.file, self.columns))
        refuse_beyond(clips, self.root)
        classes = self._divided(clips)
        refuse_groups(clips, classes)
        texts = describe_labels(clips)
        splits = [make_split(key, classes[key], clips, texts, self.root) for key in SPLITS]
        refuse_shared(self.name, splits)
        twins, notes = settle_splits(splits, self.twice, WAY_OUT)
        train, val, test = [split.without(twins) if self.twice == "drop" else split for split in splits]
        return Benchmark(self.name, train, val, test, {"clips_twice": twins}, (*self._left(clips, classes), *notes))

    def clips(self, rows: Sequence[Row]) -> list[ListedClip]:
        """The rows as clips whose files are there."""
        return read_clips(rows, self.root)

    def _divided(self, clips: Sequence[ListedClip]) -> dict[str, list[str]]:
        """The labels of each split, by the lists, the seed or the column."""
        labels = list(dict.fromkeys(clip.label for clip in clips))
        if self.lists:
            found = iter(resolve([n for names in self.lists.values() for n in names], labels, "label", self.file))
            return {key: [next(found) for _ in names] for key, names in self.lists.items()}
        if self.seed is not None:
            what = f"Table: {pluralise(len(labels), 'class')} in {self.file}"
            return divide(labels, self.seed, self.fractions, what, tie_labels(clips))
        first: dict[str, ListedClip] = {}
        for clip in clips:
            split, before = clip.row.values.get("split"), first.setdefault(clip.label, clip)
            if split is None:
                raise ValueError(
                    f"{self.file} has no column 'split' ({', '.join(COLUMNS)} are read). Add one, or list the labels "
                    "of train, val and test, or give a seed to divide them at random."
                )
            if split not in SPLITS:
                raise ValueError(f"{clip.row.place}: split must be train, val or test, found {split!r}.")
            if split != before.row.values["split"]:
                raise ValueError(
                    f"{clip.row.place}: class '{clip.label}' is in {split} here and in {before.row.values['split']} in "
                    f"{before.row.place}. Few-shot splits must share no class."
                )
        return {key: [label for label in labels if first[label].row.values["split"] == key] for key in SPLITS}

    def _left(self, clips: Sequence[ListedClip], classes: Mapping[str, list[str]]) -> list[str]:
        """A line on rows whose classes are in no list."""
        used = {label for labels in classes.values() for label in labels}
        left = list(dict.fromkeys(clip.label for clip in clips if clip.label not in used))
        return [f"left out: {len(left)} of the labels, in no list ({', '.join(left[:3])})"] if left else []


def read_clips(rows: Sequence[Row], root: Path, look: bool = True) -> list[ListedClip]:
    """The rows as clips whose files are there, where ``look`` is true.

    Raises:
        ValueError: for an empty file or label, a span that is none, or a clip that stands there before.
        FileNotFoundError: for a file that is not there.
    """
    clips: list[ListedClip] = []
    places: dict[str, Row] = {}
    there: set[str] = set()
    for row in rows:
        for key in ("file", "label"):
            if not row.values[key]:
                raise ValueError(f"{row.place}: {key} is empty; every row names a file and its label.")
        file, span = row.values["file"], read_span(row)
        if look and file not in there:
            refuse_missing(row, root / file)
            there.add(file)
        path = file if span is None else f"{file}{span}"
        before = places.setdefault(path, row)
        if before is not row:
            raise ValueError(f"{row.place}: the clip {path} stands in {before.place} already; take one of them out.")
        clips.append(ListedClip(row, path, span))
    return clips


def refuse_missing(row: Row, path: Path) -> None:
    """Raises FileNotFoundError for a path where neither a file, a folder of frames nor a clip of a store is."""
    if path.exists() or (is_packed(path) and place_of(path)):
        return
    near = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, near, 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise FileNotFoundError(
        f"{row.place}: there is no file {path}.{hint} Paths start from the table's folder, or from data.benchmark.root."
    )


def read_span(row: Row) -> Span | None:
    """The part of its file that a row means; None for all of it."""
    given = {key: row.values[key] for key in ("start", "end") if row.values.get(key)}
    seconds: dict[str, float] = {}
    for key, text in given.items():
        try:
            seconds[key] = float(text)
        except ValueError:
            raise ValueError(f"{row.place}: {key} must be seconds, such as 2.5, found {text!r}.") from None
        if not 0 <= seconds[key] < math.inf:
            raise ValueError(f"{row.place}: {key} must be seconds from 0, found {text}.")
    if not seconds:
        return None
    span = Span(seconds.get("start", 0.0), seconds.get("end"))
    if span.end is not None and span.end <= span.start:
        raise ValueError(f"{row.place}: the span ends at {span.end:g} s, not after its start at {span.start:g} s.")
    return span


def refuse_beyond(clips: Sequence[ListedClip], root: Path) -> None:
    """Raises ValueError for a span that is not within its file. What cannot be read is left to the check of videos."""

    def look(file: str) -> VideoInfo | None:
        try:
            return probe(root / file)
        except VideoError:
            return None

    files = list(dict.fromkeys(clip.file for clip in clips if clip.span is not None))
    with ThreadPoolExecutor(READING) as pool:
        infos = dict(zip(files, pool.map(look, files), strict=True))
    for clip in clips:
        info = infos.get(clip.file)
        if clip.span is None or info is None:
            continue
        try:
            clip.span.frames(info.frames, info.fps)
        except ValueError as error:
            raise ValueError(f"{clip.row.place}, {root / clip.file}: {error}.") from None


def tie_labels(clips: Sequence[ListedClip]) -> list[set[str]]:
    """Sets of labels that share groups, directly or through others."""
    groups: dict[str, set[str]] = {}
    for clip in clips:
        if group := clip.row.values.get("group"):
            groups.setdefault(group, set()).add(clip.label)
    tied: list[set[str]] = []
    for labels in groups.values():
        touched = [part for part in tied if part & labels]
        tied = [part for part in tied if not part & labels] + [labels.union(*touched)]
    return [part for part in tied if len(part) > 1]


def refuse_groups(clips: Sequence[ListedClip], classes: Mapping[str, list[str]]) -> None:
    """Raises ValueError for a group with clips in two splits."""
    split_of = {label: split for split, labels in classes.items() for label in labels}
    first: dict[str, ListedClip] = {}
    for clip in (clip for clip in clips if clip.label in split_of and clip.row.values.get("group")):
        before = first.setdefault(clip.row.values["group"], clip)
        if split_of[before.label] != split_of[clip.label]:
            raise ValueError(
                f"{clip.row.place}: group '{clip.row.values['group']}' is in {split_of[clip.label]} here and in "
                f"{split_of[before.label]} in {before.row.place}. Divide the classes otherwise, or let groups be "
                "parted with data.benchmark.columns: {group: null}."
            )


def describe_labels(clips: Sequence[ListedClip]) -> dict[str, str]:
    """``{label: what a text encoder reads}``.

    Raises:
        ValueError: when a label has two descriptions, or two labels have one.
    """
    said: dict[str, ListedClip] = {}
    for clip in clips:
        before = said.setdefault(clip.label, clip)
        one, two = (each.row.values.get("description", "") for each in (before, clip))
        if one != two:
            raise ValueError(
                f"{clip.row.place}: class '{clip.label}' is described as {two!r} here and as {one!r} in "
                f"{before.row.place}. It speaks for the class: write it in all rows, or leave the column out with "
                "data.benchmark.columns: {description: null}."
            )
    texts = {label: clip.row.values.get("description") or label.replace("_", " ") for label, clip in said.items()}
    labels: dict[str, str] = {}
    for label, text in texts.items():
        if labels.setdefault(text, label) != label:
            raise ValueError(
                f"{said[label].row.place}: the classes '{labels[text]}' and '{label}' are both called {text!r}; "
                "describe one of them otherwise."
            )
    return texts


def make_split(
    key: str, labels: Sequence[str], clips: Sequence[ListedClip], texts: Mapping[str, str], root: Path
) -> Split:
    """The clips of some labels, class by class, sorted by path and start."""
    number = {label: i for i, label in enumerate(labels)}
    mine = [clip for clip in clips if clip.label in number]
    mine.sort(key=lambda clip: (number[clip.label], clip.file, clip.span or Span(), clip.path))
    return Split(
        name=key,
        class_names=tuple(texts[label] for label in labels),
        paths=tuple(clip.path for clip in mine),
        labels=tuple(number[clip.label] for clip in mine),
        root=root,
        spans=tuple(clip.span for clip in mine) if any(clip.span for clip in mine) else (),
    )
