"""SSv2-Full, SSv2-Small, Kinetics-100, UCF101 and HMDB51 as published, on the videos that you have on disk.

``Published`` is what a configuration names; ``definition`` gives the facts about a benchmark, ``read_lists`` its lists.

>>> "hmdb51" in definitions()
True
>>> facts = definition("ssv2_full")
>>> [len(facts.classes[split]) for split in SPLITS], facts.videos["test"]
([64, 12, 24], 2857)
>>> seen_classes(["Dive", "clap"], ["dive", "run"])  # of a test, those that were trained on
['dive']
"""

from episodes.benchmarks.definitions import SPLITS, Definition, clean_text, definition, definitions
from episodes.benchmarks.further import Listed
from episodes.benchmarks.leaks import Overlap, overlap, seen_classes, shared_sources
from episodes.benchmarks.lists import Lists, read_lists, write_lists
from episodes.benchmarks.published import Published

__all__ = [
    "SPLITS",
    "Definition",
    "Listed",
    "Lists",
    "Overlap",
    "Published",
    "clean_text",
    "definition",
    "definitions",
    "overlap",
    "read_lists",
    "seen_classes",
    "shared_sources",
    "write_lists",
]
