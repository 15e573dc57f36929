"""A published benchmark on the videos that are on disk, as a source for the data module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from episodes.benchmarks.definitions import SPLITS, Names, definition
from episodes.benchmarks.disk import Found, find_all, tell_gaps
from episodes.benchmarks.lists import Lists, read_lists
from episodes.splits import Benchmark, Split


class Published:
    """A published benchmark: its lists, checked, and your copy of the data set.

    Args:
        name: ssv2_full (67,013 training videos), ssv2_full_77500, ssv2_small, kinetics100 (lists of CMN and TRX),
            kinetics100_clipfsar, ucf101 (ARN), ucf101_xian or hmdb51.
        root: the folder of the data set; videos, folders of frames, packed stores and zip files of frames (or one such
            file) are found however deep they lie.
        lists: the folder (or the CSV) that fsar splits wrote; or a folder with the three published files.
        names: what a text encoder reads: ``clean``, or ``published``, the spelling that released CLIP-FSAR uses
            ("draw_sword", "Blow DryHair", "[something]").
        allow_missing: run although videos are missing; how many were there is recorded with every result.
        allow_changed: run with lists that are not the published ones; how they differ is recorded.

    Raises:
        ValueError: an unknown name, lists that are not the published ones, or missing videos.
        FileNotFoundError: no lists, or a root without any of the videos.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str],
        lists: str | os.PathLike[str],
        names: Names = "clean",
        allow_missing: bool = False,
        allow_changed: bool = False,
    ) -> None:
        if names not in ("clean", "published"):
            raise ValueError(f"names must be 'clean' or 'published', found {names!r}.")
        self.definition = definition(name)
        self.root, self.lists, self.names = Path(root), Path(lists), names
        self.allow_missing, self.allow_changed = allow_missing, allow_changed

    def load(self) -> Benchmark:
        """Reads the lists and looks for the videos; no video is opened. Gives a :class:`Benchmark`."""
        lists = read_lists(self.lists, self.definition, self.allow_changed)
        wanted = [video for split in SPLITS for _, video in lists.videos[split]]
        name, dataset = self.definition.name, self.definition.dataset
        hint = f". `fsar check-benchmark --benchmark {name} --root {self.root} --lists {self.lists}` lists them"
        found = find_all(self.root, wanted, dataset, name, self.allow_missing, hint)
        train, val, test = (self._split(split, lists, found) for split in SPLITS)
        facts = self._facts(lists, found)
        return Benchmark(name, train, val, test, facts, tuple(tell_gaps(facts["coverage"], lists.changes)))

    def _split(self, split: str, lists: Lists, found: Found) -> Split:
        there = [(label, found.paths[video]) for label, video in lists.videos[split] if video in found.paths]
        names = lists.classes[split]
        pairs = self.definition.opposites.get(split, ())
        return Split(
            name=split,
            class_names=tuple(self.definition.text(name, self.names) for name in names),
            paths=tuple(path for _, path in there),
            labels=tuple(label for label, _ in there),
            root=self.root,
            opposites=tuple((names.index(a), names.index(b)) for a, b in pairs if a in names and b in names),
        )

    def _facts(self, lists: Lists, found: Found) -> dict[str, Any]:
        return {
            "list_sha256": lists.sha256(),
            "list_changes": list(lists.changes),
            "names": self.names,
            "coverage": {s: found.count([video for _, video in lists.videos[s]]) for s in SPLITS},
        }
