"""Which classes and videos make up the train, val and test splits of a benchmark; your own clips as a benchmark.

:class:`Folder` reads a folder of class folders, :class:`Table` a CSV, parquet or JSON list of files and labels.
"""

from episodes.splits.asked import query_split, support_split
from episodes.splits.dividing import explain_division
from episodes.splits.drawing import draw_splits
from episodes.splits.folder import Folder
from episodes.splits.imported import Imported
from episodes.splits.split import Benchmark, BenchmarkSource, Split, refuse_shared
from episodes.splits.table import Table

__all__ = [
    "Benchmark",
    "BenchmarkSource",
    "Folder",
    "Imported",
    "Split",
    "Table",
    "draw_splits",
    "explain_division",
    "query_split",
    "refuse_shared",
    "support_split",
]
