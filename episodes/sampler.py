"""Which clips make up episode number i: a pure function of (labels, ways, shots, queries, seed, i).

Random words come from a counter-based hash rather than from a library's random stream, so an episode is the same on
every machine, in every process, with any number of workers and under every version of numpy; and it can be asked for
without drawing those before it. Ten thousand episodes are drawn at once, in milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import DistributedSampler

from episodes.words import pluralise

Integers = NDArray[np.int64]
_MASK = (1 << 64) - 1


def hash_words(seed: int, *keys: ArrayLike) -> NDArray[np.uint64]:
    """Uniform 64-bit words, one for every combination that the broadcast ``keys`` spell out.

    Args:
        seed: any integer.
        keys: integers or integer arrays that broadcast against each other.

    Returns:
        uint64 of the broadcast shape; a single word has shape ``(1)``.
    """
    state = _mix(np.array([seed & _MASK], dtype=np.uint64))
    for key in keys:
        state = _mix(state ^ np.asarray(key, dtype=np.int64).astype(np.uint64))
    return state


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).

    Its output passes for random even when the input counts 0, 1, 2, ...
    """
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def draw_distinct(words: NDArray[np.uint64], below: Integers) -> Integers:
    """``m`` draws without replacement from ``0..below-1``: a partial Fisher-Yates shuffle without the deck.

    Draw ``i`` is uniform over the ``below - i`` numbers that are left, then steps over the smaller ones that are gone.

    Args:
        words: ``(... m)`` uint64 random words.
        below: ``(...)`` at least ``m`` everywhere.

    Returns:
        ``(... m)`` int64; the first draws do not depend on how many follow.
    """
    drawn = np.empty(words.shape, dtype=np.int64)
    for i in range(words.shape[-1]):
        left = (below - i).astype(np.uint64)
        draw = (((words[..., i] >> np.uint64(32)) * left) >> np.uint64(32)).astype(np.int64)
        for gone in np.moveaxis(np.sort(drawn[..., :i], axis=-1), -1, 0):
            draw += draw >= gone
        drawn[..., i] = draw
    return drawn


class Draw(NamedTuple):
    """Episodes as numbers: ``classes (e n)`` split-wide ids, ``support (e s)`` and ``query (e q)`` video indices."""

    classes: Integers
    support: Integers
    query: Integers


class EpisodeSampler:
    """Seeded list of N-way K-shot episodes over the videos of a split.

    Classes are drawn without replacement, then ``queries + shots`` distinct clips of each. Clips stand in the order of
    the drawn classes (class-major), so the labels are the same in every episode: :attr:`support_labels`,
    :attr:`query_labels`. The queries are drawn first: for one seed, an episode with more shots keeps its classes and
    queries and adds to its support, and one with more ways adds classes, which makes sweeps paired comparisons.

    Args:
        labels: ``(v)`` class id of every video in the split.
        ways: classes per episode, ``n``.
        shots: support clips per class, ``k``.
        queries: query clips per class.
        seed: of the list; any integer.
        class_names: ``C`` names, for messages and for :class:`~episodes.episode.Episode`; numbers when left out.
        drop_small_classes: leave out classes with fewer than ``shots + queries`` clips instead of raising.
        opposites: pairs of class ids; when given, episodes are 2-way and their classes are one of these pairs.
        prefix: of the names of ways, shots and queries in messages, such as ``test_`` where these are options.

    Raises:
        ValueError: when the split cannot give such episodes; the message says what it has and what would help.

    Examples:
        >>> sampler = EpisodeSampler([0, 0, 0, 1, 1, 1, 2, 2, 2], ways=2, shots=1, queries=2, seed=0)
        >>> sampler.episodes([7]).support  # (e s) numbers of videos; the same on every machine
        array([[0, 4]])
        >>> bool((sampler.episodes([3, 7]).query[1] == sampler.episodes([7]).query[0]).all())
        True
    """

    def __init__(
        self,
        labels: ArrayLike,
        ways: int,
        shots: int,
        queries: int,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
        drop_small_classes: bool = False,
        opposites: Sequence[tuple[int, int]] | None = None,
        prefix: str = "",
    ) -> None:
        self._prefix = prefix
        for name, value, least in (("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1)):
            if value < least:
                raise ValueError(f"{prefix}{name} must be at least {least}, found {value}.")
        self.ways, self.shots, self.queries, self.seed = ways, shots, queries, seed
        videos = np.asarray(labels, dtype=np.int64)
        count = len(class_names) if class_names is not None else int(videos.max(initial=-1)) + 1
        self.class_names = tuple(class_names) if class_names is not None else tuple(map(str, range(count)))
        self.sizes = np.bincount(videos, minlength=count)
        self._members = np.argsort(videos, kind="stable")
        self._first = np.cumsum(self.sizes) - self.sizes
        self.classes = self._eligible(drop_small_classes)
        self._pairs = None if opposites is None else self._eligible_pairs(opposites)
        self.support_labels = np.repeat(np.arange(ways), shots)
        self.query_labels = np.repeat(np.arange(ways), queries)

    def _eligible(self, drop_small_classes: bool) -> Integers:
        needed = self.shots + self.queries
        large = np.flatnonzero(self.sizes >= needed)
        if len(large) == len(self.sizes) >= self.ways or (drop_small_classes and len(large) >= self.ways):
            return large
        task = f"{self.ways}-way {self.shots}-shot episodes with {pluralise(self.queries, 'query')} per class"
        has = f"this split has {pluralise(len(self.sizes), 'class')}"
        found = f"{has}, {len(large)} of them with {pluralise(needed, 'clip')} or more"
        if len(self.sizes) < self.ways:
            raise ValueError(
                f"{task} need {pluralise(self.ways, 'class')}, but {found}. Lower {self._prefix}ways, or give it more "
                "classes."
            )
        small = [f"'{self.class_names[c]}' ({self.sizes[c]})" for c in np.flatnonzero(self.sizes < needed)]
        names = ", ".join(small[:8]) + (f" and {len(small) - 8} more" if len(small) > 8 else "")
        leave_out = f", or leave them out with drop_small_classes=True ({len(large)} classes stay)"
        raise ValueError(
            f"{task} need {pluralise(needed, 'distinct clip')} in each class, but {found}. Too small: {names}. "
            f"Lower {self._prefix}shots or {self._prefix}queries{leave_out if len(large) >= self.ways else ''}."
        )

    @property
    def left_out(self) -> dict[str, int]:
        """Classes that take no part, since they have fewer clips than an episode needs: name and clips of each."""
        small = np.flatnonzero(self.sizes < self.shots + self.queries)
        return {self.class_names[c]: int(self.sizes[c]) for c in small}

    def _eligible_pairs(self, opposites: Sequence[tuple[int, int]]) -> Integers:
        if self.ways != 2:
            raise ValueError(f"episodes of opposite classes are 2-way; found {self._prefix}ways={self.ways}.")
        pairs = np.array(opposites, dtype=np.int64).reshape(-1, 2)
        pairs = pairs[np.isin(pairs, self.classes).all(axis=1)]
        if not len(pairs):
            raise ValueError(
                "episodes of opposite classes were asked for, but this split names no two classes that are each "
                "other's reversal; set opposites to false, or choose a benchmark that has some (Shapes motion)."
            )
        return pairs

    def episodes(self, numbers: ArrayLike) -> Draw:
        """The episodes with these ``numbers (e)``, in their order; each depends on its own number alone."""
        number = np.asarray(numbers, dtype=np.int64).reshape(-1, 1, 1)
        way, clip = np.arange(self.ways), np.arange(self.queries + self.shots)
        words = hash_words(self.seed, number[..., 0], way)
        if self._pairs is None:
            classes = self.classes[draw_distinct(words, np.full(len(number), len(self.classes)))]
        else:
            pairs = self._pairs[draw_distinct(words[:, :1], np.full(len(number), len(self._pairs)))[:, 0]]
            flipped = words[:, 1:] >> np.uint64(63) == 1
            classes = np.where(flipped, pairs[:, ::-1], pairs)
        drawn = draw_distinct(hash_words(self.seed, number, way[:, None], clip), self.sizes[classes])
        videos = self._members[self._first[classes][..., None] + drawn]
        query, support = np.split(videos, [self.queries], axis=-1)
        return Draw(classes, support.reshape(len(number), -1), query.reshape(len(number), -1))

    def fingerprint(self, count: int = 1000) -> str:
        """sha256 hex over the first ``count`` episodes, for the record of a result."""
        digest = hashlib.sha256(f"{self.ways} ways, {self.shots} shots, {self.queries} queries".encode())
        for part in self.episodes(np.arange(count)):
            digest.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
        return digest.hexdigest()


def tell_small(split: str, clips: int, small: Mapping[str, int]) -> str:
    """A line on the classes that are left out, "" where none is.

    >>> tell_small("test", 6, {"waving": 2, "jumping": 5})
    'split test: left out 2 classes of fewer than 6 clips: waving (2), jumping (5)'
    """
    if not small:
        return ""
    names = [f"{name} ({count})" for name, count in list(small.items())[:4]] + ["..."] * (len(small) > 4)
    return f"split {split}: left out {pluralise(len(small), 'class')} of fewer than {clips} clips: {', '.join(names)}"


class StridedSampler(DistributedSampler[int]):
    """Items ``rank, rank + world, ...`` of a list: over all ranks, each item exactly once.

    PyTorch's own sampler pads or drops to give every rank the same number of items, and so counts some twice. This one
    is a subclass of it because Lightning leaves such samplers alone instead of wrapping them in one that pads.

    Args:
        items: what to deal out.
        rank: of this process.
        world: number of processes.
        renumber: in epoch ``e`` give ``item + e * len(items)``: fresh training episodes in every epoch.

    Raises:
        ValueError: when there are fewer items than processes.

    Examples:
        >>> [list(StridedSampler(range(5), rank, world=2)) for rank in (0, 1)]
        [[0, 2, 4], [1, 3]]
    """

    def __init__(self, items: Sequence[int], rank: int = 0, world: int = 1, renumber: bool = False) -> None:
        if len(items) < world:
            raise ValueError(
                f"{len(items)} items (episodes, or videos that they need) cannot be shared by {world} processes; "
                "ask for more episodes or start fewer processes."
            )
        super().__init__(range(len(items)), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.items, self.renumber, self.skip = items, renumber, 0

    def __iter__(self) -> Iterator[int]:
        offset = self.epoch * len(self.items) if self.renumber else 0
        mine = self.items[self.rank :: self.num_replicas]
        return (item + offset for item in mine[self.skip :])

    def __len__(self) -> int:
        return len(range(self.rank, len(self.items), self.num_replicas))
