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
from typing import Any, Protocol

from episodes.listing import class_folders, find_clips, is_frame_folder, require


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
        facts = [self.name, self.class_names, self.paths, self.labels, self.opposites]
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

    Raises:
        ValueError: when a class or a video stands in two splits.
    """

    name: str
    train: Split
    val: Split
    test: Split
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for a, b in combinations((self.train, self.val, self.test), 2):
            names = {name.casefold() for name in a.class_names}
            self._refuse_shared("class", a, b, [name for name in b.class_names if name.casefold() in names])
            files = {a.path(i) for i in range(len(a))}
            self._refuse_shared("video", a, b, [b.paths[i] for i in range(len(b)) if b.path(i) in files])

    def _refuse_shared(self, what: str, a: Split, b: Split, shared: list[str]) -> None:
        if shared:
            more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
            raise ValueError(
                f"benchmark {self.name}: {what} {', '.join(map(repr, shared[:3]))}{more} stands in {a.name} and in "
                f"{b.name}. Few-shot splits must share no {what}; take it out of one of them."
            )

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


Classes = list[str] | dict[str, list[str]]


class Folder:
    """Your own clips: ``root/<class>/<clip>`` is a dataset.

    A clip is a video file or a folder of frames (images). Classes go to the splits by three explicit lists, or by a
    seeded random division of all of them. Files that are no videos are passed over and counted in :attr:`ignored`;
    hidden files (``.name``) are not looked at.

    Args:
        root: the folder that holds one folder per class.
        train: folders of the training classes; or ``{folder: [clip, ...]}`` to name the clips as well.
        val: of the validation classes; ``[]`` for none, and then the last checkpoint is kept instead of the best.
        test: of the test classes.
        class_names: ``{folder: text}``, what a text encoder reads; otherwise the folder's name, underscores as spaces.
        seed: divides the classes at random instead of by lists; the same seed gives the same division everywhere.
        fractions: shares of train, val and test classes when divided at random; they add up to 1.
        name: of the benchmark in results; the folder's name when left out.

    Raises:
        ValueError: when lists and seed contradict each other, classes are listed twice or have no clips.
        FileNotFoundError: when a folder or a clip is missing; the message names the closest one there is.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: Classes | None = None,
        val: Classes | None = None,
        test: Classes | None = None,
        class_names: dict[str, str] | None = None,
        seed: int | None = None,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        name: str | None = None,
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
        self.root, self.class_names, self.seed, self.fractions = Path(root), class_names or {}, seed, fractions
        self.lists: dict[str, Classes] = {key: value for key, value in lists.items() if value is not None}
        self.name = name or self.root.resolve().name
        self.ignored: dict[str, int] = {}

    def load(self) -> Benchmark:
        """Reads the folders; the order of classes is that of the lists, or alphabetical, and clips are sorted."""
        folders = class_folders(self.root)
        require(self.class_names, folders, "class folder (named in class_names)", self.root)
        lists = self.lists or self._divided(folders)
        listed = [folder for classes in lists.values() for folder in classes]
        require(listed, folders, "class folder", self.root)
        train, val, test = (
            read_split(key, self.root, lists[key], self.class_names, self.ignored) for key in ("train", "val", "test")
        )
        return Benchmark(self.name, train, val, test)

    def _divided(self, folders: Sequence[str]) -> dict[str, Classes]:
        order = sorted(folders, key=lambda folder: hashlib.sha256(f"{self.seed}/{folder}".encode()).digest())
        first, second = (round(len(order) * sum(self.fractions[:i])) for i in (1, 2))
        parts = {"train": order[:first], "val": order[first:second], "test": order[second:]}
        for (key, part), share in zip(parts.items(), self.fractions, strict=True):
            if share and not part:
                raise ValueError(
                    f"Folder: {len(folders)} classes in {self.root} are too few to divide by fractions "
                    f"{self.fractions}: {key} gets none. Change fractions, or list the classes."
                )
        return {key: sorted(part) for key, part in parts.items()}


def read_split(
    name: str,
    root: Path,
    classes: Classes,
    class_names: Mapping[str, str] | None = None,
    ignored: dict[str, int] | None = None,
) -> Split:
    """The clips of some class folders as a split; see :class:`Folder` for the arguments."""
    ignored = {} if ignored is None else ignored
    names = {folder: folder.replace("_", " ") for folder in classes} | dict(class_names or {})
    found = {
        folder: find_clips(root / folder, classes[folder] if isinstance(classes, dict) else None, ignored)
        for folder in classes
    }
    return Split(
        name=name,
        class_names=tuple(names[folder] for folder in classes),
        paths=tuple(f"{folder}/{clip}" for folder, clips in found.items() for clip in clips),
        labels=tuple(label for label, clips in enumerate(found.values()) for _ in clips),
        root=root,
    )


def support_split(folder: Path) -> Split:
    """Labelled clips, one folder per class, that unknown clips are compared with."""
    return read_split("support", folder, class_folders(folder))


def query_split(path: Path, class_names: tuple[str, ...]) -> Split:
    """Clips to name: one video, one folder of frames, or a folder of such. Their labels mean nothing (all zero)."""
    if not path.exists():
        require([path.name], [entry.name for entry in path.parent.glob("*")], "file or folder", path.parent)
    several = path.is_dir() and not is_frame_folder(path)
    root, clips = (path, find_clips(path, None, {})) if several else (path.parent, [path.name])
    return Split("query", class_names, tuple(clips), (0,) * len(clips), root)
