"""Clips that lie there twice: links, copies, and a video beside its own frames.

A clip that is there twice meets itself in an episode, as support and as query, and the accuracy comes out too high.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

from episodes.listing.kinds import IMAGES, VIDEO_SUFFIXES, suffix_of
from episodes.listing.names import normal
from episodes.listing.span import Span
from episodes.video.info import VideoError
from episodes.video.likeness import Sketch, alike, sketch

Twice = Literal["tell", "drop", "keep"]

PIECE, FEW, MANY = 4096, 3, 32
"""Bytes that are read at several places of a file; those places where only the sizes are equal, and where these are."""
_WORD = re.compile(r"^(frames?|images?)[ _.-]+|[ _.-]+(frames?|images?|imgs?|jpe?gs?|pngs?|rgb|copy( ?\(?\d+\)?)?)$")
SHOWN = 3
COMPARED = 100
"""Videos of one name whose frames are compared; decoding more would take long."""


class Pair(NamedTuple):
    """Two clips by their numbers; of the ``same`` content, ``alike`` in their frames, or ``named`` alike only; or
    parts of one file that ``overlap``."""

    first: int
    second: int
    why: str


def find_pairs(paths: Sequence[Path]) -> list[Pair]:
    """Pairs of clips that are one, each with the first of its kind.

    Files are the same when size and contents at several places are; folders of frames when number and contents of
    several images are. Two clips of one folder and name, as ``a.mp4``, ``a.avi``, ``a_copy.mp4`` and folders ``a`` and
    ``a_frames``, are alike when their frames are; no other file is decoded. Empty and missing files are left to those
    who read them.
    """
    pairs = [Pair(group[0], other, "same") for group in find_equal(paths) for other in group[1:]]
    known = {(a, b) for a, b, _ in pairs}
    sketches: dict[int, Sketch | None] = {}
    for number, (a, b) in enumerate(pair for pair in _same_names(paths) if pair not in known):
        if number < COMPARED:
            for clip in (a, b):
                if clip not in sketches:
                    sketches[clip] = _sketch(paths[clip])
        first, second = sketches.get(a), sketches.get(b)
        one = first is not None and second is not None and alike(first, second)
        if one or _stem(paths[a].name) == _stem(paths[b].name):
            pairs.append(Pair(a, b, "alike" if one else "named"))
    return sorted(pairs)


def find_overlaps(paths: Sequence[Path], spans: Sequence[Span | None]) -> list[Pair]:
    """:func:`find_pairs` of clips of which some are parts of files: only parts with time in common are a pair."""
    files = {path: number for number, path in enumerate(dict.fromkeys(paths))}
    clips: list[list[int]] = [[] for _ in files]
    for clip, path in enumerate(paths):
        clips[files[path]].append(clip)
    of_files = find_pairs(list(files))
    followers: dict[int, list[int]] = defaultdict(list)
    for first, other, why in of_files:
        if why == "same":
            followers[first].append(other)
    of_files += [Pair(a, b, "same") for others in followers.values() for a, b in combinations(others, 2)]
    same = [(a, b, "overlap") for group in clips for a, b in combinations(group, 2)]
    across = [(min(a, b), max(a, b), why) for one, two, why in of_files for a in clips[one] for b in clips[two]]
    return sorted(Pair(a, b, why) for a, b, why in same + across if _meet(spans[a], spans[b]))


def _meet(one: Span | None, two: Span | None) -> bool:
    return (one or Span()).meets(two or Span())


def find_equal(paths: Sequence[Path]) -> list[list[int]]:
    """Groups of numbers of paths with one content."""
    groups: list[list[int]] = [list(range(len(paths)))]
    keys = (_size, lambda path: _pieces(path, FEW), lambda path: _pieces(path, MANY))
    for key in keys:
        groups = [part for group in groups for part in _divide(group, paths, key)]
    return groups


def describe_pairs(pairs: Iterable[Pair], names: Sequence[str]) -> list[str]:
    """A phrase on each pair.

    >>> describe_pairs([Pair(0, 1, "same")], ["a.mp4", "b.mp4"])
    ['a.mp4 and b.mp4 have the same content']
    """
    words = {
        "same": "have the same content",
        "alike": "show the same",
        "named": "have one name",
        "overlap": "overlap in time",
    }
    return [f"{names[a]} and {names[b]} {words[why]}" for a, b, why in pairs]


def _divide(group: list[int], paths: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[int]]:
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for number in group:
        try:
            value = key(paths[number])
        except OSError:
            continue
        if value is not None:
            parts[value].append(number)
    return [part for part in parts.values() if len(part) > 1]


def _size(path: Path) -> Hashable:
    """Bytes of a file, number of images of a folder; None where there is nothing."""
    if path.is_dir():
        return "images", len(_images(path))
    return os.stat(path).st_size or None


def _pieces(path: Path, places: int) -> Hashable:
    """Hash of the contents at so many places."""
    digest = hashlib.blake2b(digest_size=16)
    if path.is_dir():
        images = _images(path)
        sizes = [os.stat(path / images[i]).st_size for i in _spread(len(images), places)]
        if not any(sizes):
            return None
        digest.update(str(sizes).encode())
        for i in _spread(len(images), places):
            _read(path / images[i], places, digest)
    else:
        _read(path, places, digest)
    return digest.digest()


def _read(path: Path, places: int, digest: hashlib.blake2b) -> None:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= places * PIECE:
            digest.update(file.read())
            return
        for start in _spread(size - PIECE + 1, places):
            file.seek(start)
            digest.update(file.read(PIECE))


def _images(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if suffix_of(name) in IMAGES and name[0] != ".")


def _spread(count: int, places: int) -> list[int]:
    """So many of ``0..count-1``, the first and the last among them; all when there are no more."""
    if count <= places:
        return list(range(count))
    return [i * (count - 1) // (places - 1) for i in range(places)]


def have_one_name(first: Path, second: Path) -> bool:
    """``a.mp4``, ``a.avi`` and folders ``a`` and ``a_frames``, in one folder.

    >>> have_one_name(Path("wave/a.mp4"), Path("wave/a.avi"))
    True
    """
    return first.parent == second.parent and _core(first.name) == _core(second.name)


def _same_names(paths: Sequence[Path]) -> list[tuple[int, int]]:
    names: dict[Hashable, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        names[path.parent, _core(path.name)].append(number)
    return [pair for group in names.values() for pair in combinations(group, 2)]


def _stem(name: str) -> str:
    while suffix_of(name) in VIDEO_SUFFIXES:
        name = name[: -len(suffix_of(name))]
    return normal(name).casefold()


def _core(name: str) -> str:
    """What is left of a name without the word that says that it is a copy, or holds the frames."""
    return _WORD.sub("", _stem(name)) or _stem(name)


def _sketch(path: Path) -> Sketch | None:
    try:
        return sketch(path)
    except (VideoError, OSError):
        return None


def settle(
    paths: Sequence[Path],
    names: Sequence[str],
    classes: Sequence[str],
    twice: Twice,
    way_out: str,
    spans: Sequence[Span | None] = (),
    splits: Sequence[str] = (),
) -> tuple[dict[str, str], list[str]]:
    """What becomes of clips that lie there twice.

    Args:
        paths: of the clips.
        names: of the clips, as messages give them.
        classes: of the clips.
        twice: "tell" of copies in one class or in another split, and refuse others; "drop" all but the first of a
            class, and all of those that stand in two classes; or "keep" them all.
        way_out: the message's advice.
        spans: of the clips that are parts of their files; nothing when none is.
        splits: of the clips; nothing when all are of one.

    Returns:
        ``{name: name of its twin}`` of those left out, or of those kept although there twice; and lines to be said.

    Raises:
        ValueError: for a clip in two classes of a split, or a video beside its own frames or another coding of it.
    """
    found = find_overlaps(paths, spans) if any(spans) else find_pairs(paths)
    pairs, told = [p for p in found if p.why != "named"], [p for p in found if p.why == "named"]
    apart = [pair for pair in pairs if splits and splits[pair.first] != splits[pair.second]]
    within = [pair for pair in pairs if pair not in apart]
    wrong = [pair for pair in within if pair.why == "alike" or classes[pair.first] != classes[pair.second]]
    if wrong and twice == "tell":
        raise ValueError(
            f"{_several(len(wrong), 'clip is', 'clips are')} there twice: {_shown(wrong, names)}. A query that meets "
            f"itself as support makes the accuracy wrong. {way_out}"
        )
    twins: dict[str, str] = {}
    for group in joined(pairs):
        whole = twice == "drop" and len({classes[clip] for clip in group}) > 1
        for clip in group if whole else group[1:]:
            twins[names[clip]] = names[group[0] if clip != group[0] else group[1]]
    lines = [f"taken for different clips: {_shown(told, names)}"] if told else []
    if twins and twice == "drop":
        lines.append(f"left out: {_several(len(twins), 'clip', 'clips')} of those there twice ({_shown(pairs, names)})")
        return twins, lines
    for some, so_that in (
        (within, "so that a query may meet itself as support"),
        (apart, "in two splits, so that what is tested is no longer new"),
    ):
        if some:
            several = _several(len(some), "clip is", "clips are")
            lines.append(f"{several} there twice, {so_that}: {_shown(some, names)}. {way_out}")
    return twins, lines


def joined(pairs: Iterable[Sequence[Any]]) -> list[list[int]]:
    """Clips that are one, over all pairs.

    >>> joined([(0, 2), (1, 4), (2, 3)])
    [[1, 4], [0, 2, 3]]
    """
    groups: list[set[int]] = []
    for a, b, *_ in pairs:
        touched = [group for group in groups if a in group or b in group]
        groups = [group for group in groups if group not in touched] + [{a, b}.union(*touched)]
    return [sorted(group) for group in groups]


def _shown(pairs: Sequence[Pair], names: Sequence[str]) -> str:
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return "; ".join(describe_pairs(pairs[:SHOWN], names)) + more


def _several(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
