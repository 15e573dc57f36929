"""Which classes and videos make up the train, val and test splits of a benchmark; your own folders as a benchmark."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol, get_args

from episodes.listing import (
    Name,
    Twice,
    class_folders,
    find_clips,
    is_frame_folder,
    normal,
    refuse_links,
    require,
    resolve,
    resolve_names,
    settle,
    tell_left_out,
)


@dataclass(frozen=True)
class Split:
    """The classes and videos of one split. Video ``i`` is the file (or folder of frames) ``root / paths[i]``.

    Args:
        name: ``train``, ``val`` or ``test``.
        class_names: ``C`` names, as a text encoder reads them.
        paths: ``v`` paths relative to ``root``, with forward slashes.
        labels: ``v`` class ids in ``0..C-1``.
        root: the folder that the paths start from.
        opposites: pairs of class ids that are time reversals of each other.

    Raises:
        ValueError: when names or paths occur twice or labels do not fit.
    """

    name: str
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    root: Path
    opposites: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise ValueError(f"split {self.name}: {len(self.paths)} paths, but {len(self.labels)} labels.")
        ids = {*self.labels, *(c for pair in self.opposites for c in pair)}
        if ids and not 0 <= min(ids) <= max(ids) < len(self.class_names):
            raise ValueError(
                f"split {self.name}: class ids must lie in 0..{len(self.class_names) - 1} "
                f"(it has {len(self.class_names)} class names), found {min(ids)}..{max(ids)}."
            )
        for what, values in (("class name", self.class_names), ("video", self.paths)):
            if len(set(values)) < len(values):
                twice, times = Counter(values).most_common(1)[0]
                raise ValueError(f"split {self.name}: the {what} '{twice}' occurs {times} times; expected once.")

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, video: int) -> Path:
        """Where video number ``video`` is."""
        return self.root / self.paths[video]

    def without(self, paths: Collection[str]) -> Split:
        """The same classes less the videos with these paths."""
        kept = [i for i, path in enumerate(self.paths) if path not in paths]
        return replace(self, paths=tuple(self.paths[i] for i in kept), labels=tuple(self.labels[i] for i in kept))

    def fingerprint(self) -> str:
        """sha256 hex over names, paths and labels; where the files lie (``root``) does not matter."""
        facts = [self.name, self.class_names, [normal(path) for path in self.paths], self.labels, self.opposites]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Benchmark:
    """Three splits that share no class and no video.

    Args:
        name: of the benchmark.
        train: of the classes that are trained on.
        val: of the classes that checkpoints are chosen on.
        test: of the classes that are reported.
        facts: what else the record of a result must say, such as the lists' hash and how many videos were there.
        notes: lines that are shown when work begins, such as what was left out.

    Raises:
        ValueError: when a class or a video stands in two splits.
    """

    name: str
    train: Split
    val: Split
    test: Split
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_shared(self.name, (self.train, self.val, self.test))

    def split(self, name: str) -> Split:
        """The split called ``train``, ``val`` or ``test``."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def fingerprint(self) -> str:
        """sha256 hex over the fingerprints of the three splits."""
        parts = [split.fingerprint() for split in (self.train, self.val, self.test)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


class BenchmarkSource(Protocol):
    """Anything that can load a benchmark; handed to the data module in Python, or by ``class_path`` in YAML."""

    def load(self) -> Benchmark:
        """The benchmark; makes or finds the files when it has to. Gives the same answer every time."""


def refuse_shared(name: str, splits: Sequence[Split]) -> None:
    """Raises ValueError for a class or a video that stands in two splits of the benchmark called ``name``."""
    for a, b in combinations(splits, 2):
        classes, files = {name.casefold() for name in a.class_names}, {f"{a.root}/{path}" for path in a.paths}
        found = {
            "class": [name for name in b.class_names if name.casefold() in classes],
            "video": [path for path in b.paths if f"{b.root}/{path}" in files],
        }
        for what, shared in found.items():
            if shared:
                more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
                raise ValueError(
                    f"benchmark {name}: {what} {', '.join(map(repr, shared[:3]))}{more} stands in {a.name} and in "
                    f"{b.name}. Few-shot splits must share no {what}; take it out of one of them."
                )


Classes = list[Name] | dict[Name, list[Name]]
Folders = list[str] | dict[str, list[Name]]  # the same by the names on disk
_WAY_OUT = "Delete one of each, or set data.benchmark.twice: drop leaves them out, keep takes them all."


class Folder:
    """Your own clips: ``root/<class>/<clip>`` is a dataset.

    A clip is a video file or a folder of frames (images). Classes go to the splits by three explicit lists, or by a
    seeded random division of all of them. Files that are no clips are left out, said in one line and recorded in
    results; hidden files (``.name``) and those of the system (``Thumbs.db``, ``__MACOSX``) are not looked at.

    Args:
        root: the folder that holds one folder per class.
        train: folders of the training classes; or ``{folder: [clip, ...]}`` to name the clips as well.
        val: of the validation classes; ``[]`` for none, and then the last checkpoint is kept instead of the best.
        test: of the test classes.
        class_names: ``{folder: text}``, what a text encoder reads; otherwise the folder's name, underscores as spaces.
        seed: divides the classes at random instead of by lists; the same seed gives the same division everywhere.
        fractions: shares of train, val and test classes when divided at random; they add up to 1.
        name: of the benchmark in results; the folder's name when left out.
        twice: what becomes of clips that lie there twice. "tell": copies in one class are told and taken; a copy in
            another class, and a video beside its own frames, are refused. "drop": one of a class is taken, and none of
            those in two classes. "keep": all are taken. Results list them.

    Raises:
        ValueError: when lists and seed contradict each other, classes are listed twice or have no clips, or clips are
            there twice.
        FileNotFoundError: when a folder or a clip is missing; the message names the closest one there is.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: Classes | None = None,
        val: Classes | None = None,
        test: Classes | None = None,
        class_names: dict[Name, Name] | None = None,
        seed: int | None = None,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        name: str | None = None,
        twice: Twice = "tell",
    ) -> None:
        lists = {"train": train, "val": val, "test": test}
        missing = [key for key, value in lists.items() if value is None]
        if seed is None and missing:
            raise ValueError(
                f"Folder: {', '.join(missing)} not given. List the classes of train, val and test (val: [] for no "
                "validation), or give a seed to divide all classes at random."
            )
        if seed is not None and len(missing) < 3:
            raise ValueError("Folder: give either lists of classes or a seed, not both.")
        if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
            raise ValueError(f"Folder: fractions must be three shares that add up to 1, found {fractions}.")
        if twice not in get_args(Twice):
            raise ValueError(f"Folder: twice must be one of {', '.join(get_args(Twice))}; found {twice!r}.")
        self.root, self.class_names, self.seed, self.fractions = Path(root), class_names or {}, seed, fractions
        self.lists: dict[str, Classes] = {key: value for key, value in lists.items() if value is not None}
        self.name, self.twice = name or self.root.resolve().name, twice

    def load(self) -> Benchmark:
        """Reads the folders; the order of classes is that of the lists, or alphabetical, and clips are sorted."""
        folders = class_folders(self.root)
        names = resolve_names(self.class_names, folders, "class_names", self.root)
        lists = self._listed(folders) if self.lists else self._divided(folders)
        refuse_links(self.root, list(dict.fromkeys(folder for classes in lists.values() for folder in classes)))
        left_out: dict[str, list[str]] = {}
        splits = [read_split(key, self.root, lists[key], names, left_out) for key in ("train", "val", "test")]
        refuse_shared(self.name, splits)  # before what is listed twice is told as a copy
        twins, notes = settle_splits(splits, self.twice, _WAY_OUT)
        train, val, test = [split.without(twins) if self.twice == "drop" else split for split in splits]
        facts = {"files_left_out": {folder: len(others) for folder, others in left_out.items()}, "clips_twice": twins}
        return Benchmark(self.name, train, val, test, facts, (*tell_left_out(left_out), *notes))

    def _listed(self, folders: Sequence[str]) -> dict[str, Folders]:
        """The lists, with the folders' names as they are on disk."""
        listed = [name for classes in self.lists.values() for name in classes]
        found = iter(resolve(listed, folders, "class folder", self.root))
        return {
            key: {next(found): clips for clips in classes.values()}
            if isinstance(classes, dict)
            else [next(found) for _ in classes]
            for key, classes in self.lists.items()
        }

    def _divided(self, folders: Sequence[str]) -> dict[str, Folders]:
        order = sorted(folders, key=lambda folder: hashlib.sha256(f"{self.seed}/{normal(folder)}".encode()).digest())
        first, second = (round(len(order) * sum(self.fractions[:i])) for i in (1, 2))
        parts = {"train": order[:first], "val": order[first:second], "test": order[second:]}
        for (key, part), share in zip(parts.items(), self.fractions, strict=True):
            if share and not part:
                raise ValueError(
                    f"Folder: {len(folders)} classes in {self.root} are too few to divide by fractions "
                    f"{self.fractions}: {key} gets none. Change fractions, or list the classes."
                )
        return {key: sorted(part, key=normal) for key, part in parts.items()}


def settle_splits(splits: Sequence[Split], twice: Twice, way_out: str) -> tuple[dict[str, str], list[str]]:
    """:func:`episodes.listing.settle` of the clips of all splits, named by their paths."""
    names = [path for split in splits for path in split.paths]
    classes = [split.class_names[label] for split in splits for label in split.labels]
    return settle([split.path(i) for split in splits for i in range(len(split))], names, classes, twice, way_out)


def read_split(
    name: str,
    root: Path,
    classes: Folders,
    class_names: Mapping[str, str] | None = None,
    left_out: dict[str, list[str]] | None = None,
) -> Split:
    """The clips of some class folders as a split; see :class:`Folder` for the arguments."""
    left_out = {} if left_out is None else left_out
    names = {folder: normal(folder).replace("_", " ") for folder in classes} | dict(class_names or {})
    found = {
        folder: find_clips(root / folder, classes[folder] if isinstance(classes, dict) else None, left_out)
        for folder in classes
    }
    return Split(
        name=name,
        class_names=tuple(names[folder] for folder in classes),
        paths=tuple(f"{folder}/{clip}" for folder, clips in found.items() for clip in clips),
        labels=tuple(label for label, clips in enumerate(found.values()) for _ in clips),
        root=root,
    )


def support_split(root: Path, class_names: Mapping[str, str] | None = None, notes: list[str] | None = None) -> Split:
    """Labelled clips, one folder per class, that unknown clips are compared with; see :class:`Folder`.

    ``notes`` gets lines on what was left out and what is there twice.

    Raises:
        ValueError: for a class without clips, or a clip in two classes or beside its own frames.
    """
    folders, left_out = class_folders(root), dict[str, list[str]]()
    refuse_links(root, folders)
    split = read_split("support", root, folders, class_names, left_out)
    _, lines = settle_splits([split], "tell", "Delete one of each.")
    if notes is not None:
        notes += [*tell_left_out(left_out), *lines]
    return split


def query_split(path: Path, class_names: tuple[str, ...], notes: list[str] | None = None) -> Split:
    """Clips to name: one video, one folder of frames, or a folder of such; their labels mean nothing. See above."""
    if not path.exists():
        require([path.name], [entry.name for entry in path.parent.glob("*")], "file or folder", path.parent)
    several, left_out = path.is_dir() and not is_frame_folder(path), dict[str, list[str]]()
    root, clips = (path, find_clips(path, None, left_out)) if several else (path.parent, [path.name])
    if notes is not None:
        notes += tell_left_out(left_out)
    return Split("query", class_names, tuple(clips), (0,) * len(clips), root)
