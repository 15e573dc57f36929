"""Which classes and videos make up the train, val and test splits of a benchmark; your own clips as a benchmark.

:class:`Folder` reads a folder of class folders, :class:`Table` a CSV, parquet or JSON list of files and labels.

>>> for clip in ("wave/a.mp4", "wave/b.mp4", "run/c.mp4"):
...     Path("clips", clip).parent.mkdir(parents=True, exist_ok=True)
...     _ = Path("clips", clip).write_bytes(clip.encode())
>>> benchmark = Folder("clips", train=["wave"], val=[], test=["run"]).load()
>>> benchmark.train.class_names, len(benchmark.train)
(('wave',), 2)
>>> _ = Path("clips/list.csv").write_text("file,label,split\\nwave/a.mp4,wave,train\\nrun/c.mp4,running fast,test\\n")
>>> Table("clips/list.csv").load().test.class_names
('running fast',)
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
