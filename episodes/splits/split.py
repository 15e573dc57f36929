"""What a benchmark is: three splits, each with its classes and videos."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

from episodes.listing import normal
from episodes.listing.span import Span


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
        spans: the part of its file that each video is, None for a whole file; nothing when all are whole files. The
            path of a part ends in its span, ``a.mp4#t=2.5,4``.

    Raises:
        ValueError: when names or paths occur twice, or labels or spans do not fit.

    >>> split = Split("test", ("sit", "jump"), ("sit/a.mp4", "jump/b.mp4"), (0, 1), Path("clips"))
    >>> len(split.paths), split.class_names[split.labels[1]]
    (2, 'jump')
    """

    name: str
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    root: Path
    opposites: tuple[tuple[int, int], ...] = ()
    spans: tuple[Span | None, ...] = ()

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise ValueError(f"split {self.name}: {len(self.paths)} paths, but {len(self.labels)} labels.")
        if self.spans and len(self.spans) != len(self.paths):
            raise ValueError(f"split {self.name}: {len(self.paths)} paths, but {len(self.spans)} spans.")
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
        """The file that video number ``video`` is, or is a part of."""
        span = self.span(video)
        return self.root / (self.paths[video] if span is None else self.paths[video].removesuffix(str(span)))

    def span(self, video: int) -> Span | None:
        """The part of its file that video number ``video`` is; None for all of it."""
        return self.spans[video] if self.spans else None

    def without(self, paths: Collection[str]) -> Split:
        """The same classes less the videos with these paths."""
        kept = [i for i, path in enumerate(self.paths) if path not in paths]
        paths, labels = tuple(self.paths[i] for i in kept), tuple(self.labels[i] for i in kept)
        return replace(self, paths=paths, labels=labels, spans=tuple(self.spans[i] for i in kept if self.spans))

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

    >>> def one(name):
    ...     return Split(name, (f"of {name}",), (f"{name}.mp4",), (0,), Path("clips"))
    >>> Benchmark("mine", one("train"), one("val"), one("test")).test.class_names
    ('of test',)
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
