"""Cross-domain: train once, test on the classes of other data; and which of these are the source's, spelt otherwise.

Published cross-domain lists hold source classes that are the target's novel ones by another name (of Kinetics-364's,
two of UCF101's by the very name): names are compared with case, spaces and signs set aside, and word order in those of
at most three words, which finds equal names and no synonyms. ("from left to right" is not "from right to left".)
Videos that the source has too are counted by their content: numbers on those are not of new clips.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from episodes.listing.duplicates import find_equal
from episodes.sampler import EpisodeSampler
from fsar.evaluation.protocols.ground import Ground, Measure, as_tasks, count_usable, measure_accuracy, summarise_row

A_FEW = 3


def bare_name(name: str) -> str:
    """A class's name as its lower-case words, without an -ing at their end; sorted where they are no sentence.

    Examples:
        >>> bare_name("Air_Drumming") == bare_name("drumming air") == bare_name("AirDrumming")
        True
        >>> bare_name("pulling it from left to right") == bare_name("pulling it from right to left")
        False
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[^\W_]+", parted.lower())
    bare = [re.sub(r"(?<=\w{3})ing$", "", word) for word in words]
    return " ".join(sorted(bare) if len(bare) <= A_FEW else bare)


def name_overlap(source: Sequence[str], target: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a source's and a target's class that have the same :func:`bare_name`."""
    known = {bare_name(name): name for name in source}
    return [(known[bare_name(name)], name) for name in target if bare_name(name) in known]


def shared_videos(source: Sequence[Path], target: Sequence[Path]) -> list[tuple[int, int]]:
    """Pairs of a source's and a target's video that are one file, by their numbers."""
    groups = find_equal([*source, *target])
    n = len(source)
    return [(group[0], other - n) for group in groups for other in group if group[0] < n <= other]


def run(
    ground: Ground, ways: int = 5, shots: int = 1, queries: int = 1, episodes: int = 2000, seed: int = 0
) -> list[Measure]:
    """Accuracy on the target's test classes; fewer ways than asked where it has fewer classes."""
    ways = min(ways, count_usable(ground, shots + queries, 2))
    sampler = EpisodeSampler(ground.labels, ways, shots, queries, seed, ground.class_names, drop_small_classes=True)
    tasks = as_tasks(sampler, episodes)
    accuracy = measure_accuracy(ground.score(tasks), tasks.query_labels)
    return [summarise_row(f"{ways}-way {shots}-shot", accuracy)]
