"""What each prepared video was made of: where the source is another one by now, it is made anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from episodes.features.identity import Identity, difference, identify
from episodes.files import write_atomically

NOTES = "sources.jsonl"
"""Beside what is made: a line ``{"name": ..., "size": ..., "time": ..., "hash": ...}`` for each."""


def read_sources(out: Path) -> dict[str, Identity]:
    """``{name of what is made: identity of its source}``; lines that were cut off or damaged count as not there."""
    found: dict[str, Identity] = {}
    file = out / NOTES
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
        try:
            entry = json.loads(line)
            found[str(entry["name"])] = Identity(int(entry["size"]), int(entry["time"]), str(entry["hash"]))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def write_sources(out: Path, known: Mapping[str, Identity]) -> None:
    """All lines anew, so that the next is not appended to half a line."""
    with write_atomically(out / NOTES) as part:
        part.write_text("".join(_line(name, identity) for name, identity in known.items()), encoding="utf-8")


def note_source(out: Path, name: str, identity: Identity) -> None:
    """Appends a line, once it is made."""
    with (out / NOTES).open("a", encoding="utf-8") as file:
        file.write(_line(name, identity))


def is_replaced(source: Path, name: str, made: float, known: dict[str, Identity]) -> bool:
    """Whether a source is another one by now than what was made of it.

    Of one that was made before sources were noted nobody knows it: taken as made of what lies there, and added to
    ``known``, unless that was changed later.

    Args:
        source: a video or folder of frames.
        name: of what is made of it.
        made: when that was, in seconds since 1970.
        known: ``{name: identity of its source}``.
    """
    if name in known:
        return difference(source, known[name]) is not None
    if source.exists() and source.stat().st_mtime > made:
        return True
    if identity := identify(source):
        known[name] = identity
    return False


def _line(name: str, identity: Identity) -> str:
    return json.dumps({"name": name, **identity._asdict()}) + "\n"
