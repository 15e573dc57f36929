"""What tells results apart that stand side by side: every difference of their configurations, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ASKED = re.compile(
    r"(test_)?(ways|shots)|(test|val)_episodes|(num_)?workers|video_batch|episode_batch|cache|check_videos"
    r"|prefetch\w*|pin_memory"
)
"""Options of the data that other columns show, or that change no number."""
SILENT = ("init_args", "class_path", "model", "method")
LENGTH = 40
LAST = (
    ("encoder", "encoder_sha256"),
    ("weights", "weights_sha256"),
    ("commit", "commit"),
    ("date", "date"),
)
"""Asked one after the other while rows look alike: name and key of a record."""

Leaf = tuple[str, tuple[str, ...], str]
"""An option, the classes it belongs to, and its value."""


def tell_apart(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each record what of it differs from another: encoder, alignment, features, texts, checkpoint, ...

    Hashes, commit and date are named only for those that nothing else tells apart.

    Args:
        records: of ``results.json``.
    """
    leaves = [{(name, owners): value for name, owners, value in options(record)} for record in records]
    words: list[list[str]] = [[] for _ in records]
    for key in dict.fromkeys(key for own in leaves for key in own):
        name, owners = key
        rivals = [own.get(key) for own in leaves if key in own or belongs(own, owners)]
        if len(set(rivals)) > 1:
            for row, own in zip(words, leaves, strict=True):
                if key in own:
                    row.append(f"{name} {own[key]}".strip())
    for name, fact in LAST:
        values = [str(record.get(fact) or "unknown") for record in records]
        for i, row in enumerate(list(words)):
            alike = [j for j, other in enumerate(words) if j != i and other[: len(row)] == row[: len(other)]]
            if any(values[j] != values[i] for j in alike):
                words[i] = [*row, f"{name} {values[i][:8] if fact.endswith('sha256') else values[i][:19]}"]
    return [", ".join(row) for row in words]


def options(record: Mapping[str, Any]) -> Iterator[Leaf]:
    """Everything that was set and may change a number."""
    config = record.get("config") or {}
    yield "method", (), str(record.get("method"))
    yield from flatten(config.get("model") or {}, (), ())
    data = {key: value for key, value in (config.get("data") or {}).items() if not ASKED.fullmatch(key)}
    yield from flatten(data, ("data",), ())
    yield "seed", (), short(config.get("seed_everything"))
    checkpoint = record.get("checkpoint")
    yield "checkpoint", (), "/".join(str(checkpoint).split("/")[-3:]) if checkpoint else "none"


def flatten(value: Any, path: tuple[str, ...], owners: tuple[str, ...]) -> Iterator[Leaf]:
    """Options and values of a tree; a class is the value of the option that it is given for."""
    name = ".".join(part for part in path if part not in SILENT) or "method"
    if not isinstance(value, dict):
        yield name, owners, short(value)
        return
    if isinstance(value.get("class_path"), str):
        found = value["class_path"].rsplit(".", 1)[-1]
        if path[-1:] != ("method",):  # the record names it
            yield name, owners, found
        owners = (*owners, found)
        yield "", owners, ""  # so that one without options is known to be there
    for key, inner in value.items():
        if key != "class_path":
            yield from flatten(inner, (*path, key), owners)


def belongs(own: Mapping[tuple[str, tuple[str, ...]], str], owners: tuple[str, ...]) -> bool:
    """Whether a configuration holds something of these classes, so that an option which it lacks is a difference."""
    return any(held == owners for _, held in own)


def short(value: Any) -> str:
    """A value in a few characters."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LENGTH else f"{text[:20]}...{text[-17:]}"
