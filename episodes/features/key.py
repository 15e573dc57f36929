"""What decides the numbers in a feature store, and its name."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from episodes.dataset import ClipDataset
from episodes.splits import Split

FORMAT = 1
"""To be raised when the same key would no longer give the same numbers."""

Key = dict[str, Any]


def store_key(clips: ClipDataset, encoder: str) -> Key:
    """Everything that decides the stored features, readable and as plain JSON.

    Args:
        clips: the clips that are encoded.
        encoder: hash of what turns clips into features.

    Raises:
        ValueError: when a sampler or transform cannot be described by plain attributes.
    """
    random = clips.sampler.random or getattr(clips.transform, "random", True)
    return {
        "format": FORMAT,
        "encoder": encoder,
        "frames": clips.frames,
        "sampler": describe(clips.sampler),
        "transform": describe(clips.transform),
        "reader": clips.reader,
        "seed": clips.seed if random else None,
        "videos": f"{len(clips)}, sha256 {hashlib.sha256(json.dumps(clips.split.paths).encode()).hexdigest()[:16]}",
    }


def folder_name(split: Split, key: Key) -> str:
    """``<split>-<first 12 digits of the key's sha256>``."""
    return f"{split.name}-{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]}"


def describe(part: object) -> dict[str, Any]:
    """Class and attributes of a sampler or transform, as plain JSON.

    Raises:
        ValueError: when an attribute is neither a number, a string, None nor a list or dict of such.
    """
    kind = type(part)
    facts = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    for name, value in sorted(vars(part).items() if hasattr(part, "__dict__") else ()):
        try:
            facts[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"features cannot be stored: {facts['class']}.{name} is {value!r}, and only numbers, strings, None and "
                "lists or dicts of them can tell one configuration from another. Keep such values in the object."
            ) from error
    if kind.__name__ in ("function", "method", "builtin_function_or_method"):
        raise ValueError(
            f"features cannot be stored: {part!r} is a function, which nothing can tell from another one. Make it a "
            "class with plain attributes and __call__."
        )
    return facts


def differences(stored: Key, asked: Key) -> list[str]:
    """What differs between two keys, one line for each field and attribute."""
    lines = []
    for field in sorted({*stored, *asked}):
        old, new = stored.get(field, "nothing"), asked.get(field, "nothing")
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [f"{field} {line}" for line in differences(old, new)]
        else:
            lines.append(f"{field}: stored {_short(old)}, asked for {_short(new)}")
    return lines


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
