"""The clips of imported features as a benchmark: their files need not be here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from episodes.imported import VIDEOS, read_import
from episodes.listing import Name
from episodes.splits.rows import Row
from episodes.splits.split import Benchmark
from episodes.splits.table import ListedClip, Table, read_clips


class Imported(Table):
    """What ``fsar import-features`` made: the clips of its ``videos.csv``, which are read as features alone.

    Args:
        store: the folder.
        train: labels of the training classes, in place of a column ``split``.
        val: of the validation classes; ``[]`` for none.
        test: of the test classes.
        seed: divides the classes at random; classes that share groups go together.
        fractions: shares of train, val and test classes when divided at random; they add up to 1.
        name: of the benchmark in results; the folder's name when left out.

    Raises:
        ValueError: as :class:`episodes.splits.Table`.
        FileNotFoundError: when the folder holds no imported features.
    """

    imported = True

    def __init__(
        self,
        store: str | os.PathLike[str],
        train: list[Name] | None = None,
        val: list[Name] | None = None,
        test: list[Name] | None = None,
        seed: int | None = None,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        name: str | None = None,
    ) -> None:
        self.store = Path(store)
        file = self.store / VIDEOS
        super().__init__(file, None, train, val, test, seed, fractions, None, name or self.store.name, "keep")

    def clips(self, rows: Sequence[Row]) -> list[ListedClip]:
        """The rows, whose files are not looked for."""
        return read_clips(rows, self.root, look=False)

    def load(self) -> Benchmark:
        """The splits, and in the facts of results what made the features."""
        about = read_import(self.store)
        facts = {"imported": {key: getattr(about, key) for key in ("made_by", "frames", "shapes", "sha256")}}
        benchmark = super().load()
        return replace(benchmark, facts={**benchmark.facts, **facts})
