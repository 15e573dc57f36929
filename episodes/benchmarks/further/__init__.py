"""Lists of other benchmarks and protocols by name: what is wrong with them is said, cleaned variants have own names."""

from episodes.benchmarks.further.definitions import Further, further, further_lists
from episodes.benchmarks.further.reading import read_part
from episodes.benchmarks.further.source import Listed

__all__ = ["Further", "Listed", "further", "further_lists", "read_part"]
