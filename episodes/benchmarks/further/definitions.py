"""What is known of further published lists: parts, counts, hashes, faults. The facts stand in ``further.yaml``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Part(NamedTuple):
    """A list: how many classes and videos, and the :func:`hash_groups` of its classes."""

    classes: int
    videos: int
    sha256: str


@dataclass(frozen=True)
class Further:
    """Lists of one release.

    Args:
        name: such as ``diving48_tamt``.
        dataset: whose videos they name.
        repository: where they were published, at a commit.
        parts: its lists.
        roles: which of them trains, validates and tests; nothing for lists of the same classes.
        files: what the release calls each.
        faults: what was found in them.
        version: of the labels, where there are several.
        published: the name of the lists as published, when these are a cleaned variant.
        cleaned: how: ``positives``, ``names``, or ``unseen``, which is done beside the training list.
        says: what was cleaned.
    """

    name: str
    dataset: str
    repository: str
    parts: Mapping[str, Part]
    roles: Mapping[str, str]
    files: Mapping[str, str]
    faults: tuple[str, ...]
    version: str = ""
    published: str = ""
    cleaned: str = ""
    says: str = ""


def hash_groups(groups: Iterable[Iterable[str]]) -> str:
    """sha256 over which videos share a class, whatever classes are called and in which order they stand.

    >>> hash_groups([["b", "a"], ["c"]]) == hash_groups([["c"], ["a", "b"]])
    True
    """
    digest = hashlib.sha256()
    for group in sorted("\n".join(sorted(videos)) for videos in groups):
        digest.update(group.encode() + b"\0")
    return digest.hexdigest()


@cache
def further_lists() -> dict[str, Further]:
    """All of them by name."""
    entries = yaml.safe_load(Path(__file__).with_name("further.yaml").read_text(encoding="utf-8"))
    found: dict[str, Further] = {}
    for name, entry in entries.items():
        if "of" in entry:
            published = found[entry["of"]]
            changes = {"published": published.name, "cleaned": entry["cleaned"], "says": entry["says"]}
            found[name] = replace(published, name=name, **changes)
        else:
            found[name] = _further(name, entry)
    return found


def further(name: str) -> Further:
    """The lists of that name.

    Raises:
        ValueError: when there are none; the message names those that there are.
    """
    if name not in further_lists():
        raise ValueError(f"there are no lists {name!r}; known are {', '.join(further_lists())}.")
    return further_lists()[name]


def _further(name: str, entry: dict[str, Any]) -> Further:
    return Further(
        name=name,
        dataset=entry["dataset"],
        repository=entry["repository"],
        parts={part: Part(*facts) for part, facts in entry["parts"].items()},
        roles=entry.get("roles", {}),
        files=entry.get("files", {}),
        faults=tuple(entry["faults"]),
        version=entry.get("version", ""),
    )
