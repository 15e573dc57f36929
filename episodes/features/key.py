"""What decides the numbers in a feature store, and its name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from episodes.dataset import ClipDataset
from episodes.splits import Split
from episodes.views import Views

HASH = "sha256"
FORMAT = 1
"""To be raised when the same key would no longer give the same numbers."""

Key = dict[str, Any]


def store_key(clips: ClipDataset, encoder: str | Key) -> Key:
    """Everything that decides the stored features, readable and as plain JSON.

    Args:
        clips: the clips that are encoded.
        encoder: what turns clips into features, as a hash, or as plain values that a hash of the weights is one of.

    Raises:
        ValueError: when a sampler or transform cannot be described by plain attributes.
    """
    random = clips.sampler.random or getattr(clips.transform, "random", True)
    videos = hashlib.sha256(json.dumps(clips.split.paths).encode()).hexdigest()
    return {
        "format": FORMAT,
        "encoder": encoder,
        **made_from(clips, exact=True),
        "seed": clips.seed if random else None,
        "videos": f"{len(clips)}, sha256 {videos[:12]}",
    }


def made_from(clips: ClipDataset, exact: bool = False) -> Key:
    """How clips are made from videos: number of frames, frame sampler, transform and reader, as plain JSON.

    Args:
        clips: some clips.
        exact: raise ValueError for a sampler or transform that plain JSON does not describe, instead of its repr.
    """
    return {
        "frames": clips.frames,
        "sampler": describe(clips.sampler, exact),
        "transform": describe(clips.transform, exact),
        "reader": clips.reader,
        **({} if clips.regions is None else {"regions": clips.regions.facts(clips.split)}),
        **({} if clips.joints is None else {"joints": clips.joints.facts(clips.split)}),
        **({} if clips.sound is None else {"sound": asdict(clips.sound)}),
        **({} if clips.views is None else {"views": views_of(clips.views, exact)}),
    }


def views_of(views: Views, exact: bool) -> Key:
    """What they are; how they are averaged changes nothing of what is kept of each."""
    facts = asdict(views)
    return {name: value for name, value in facts.items() if name != "average"} if exact else facts


def folder_name(split: Split, key: Key) -> str:
    """``<split>-<first 12 digits of the key's sha256>``."""
    return f"{split.name}-{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]}"


def describe(part: object, exact: bool = False) -> dict[str, Any]:
    """Class and attributes of a sampler or transform, as plain JSON; see :func:`made_from`."""
    kind = type(part)
    facts: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    attributes = sorted(vars(part).items()) if kind.__module__ != "builtins" else [("function", part)]
    for name, value in attributes:
        try:
            facts[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            if exact:
                raise ValueError(
                    f"features cannot be stored: {facts['class']} has {name} = {value!r}, and only numbers, strings, "
                    "None, and lists or dicts of them tell one configuration from another. Make the sampler or "
                    "transform a class whose attributes are such values."
                ) from error
            facts[name] = repr(value)
    return facts


def differences(stored: Key, asked: Key) -> list[str]:
    """What differs between two keys, one line for each field and attribute. The hash of an encoder covers its other
    fields: where one of those differs it says no more, else it tells of other weights."""
    lines = []
    fields = sorted(field for field in {*stored, *asked} if stored.get(field) != asked.get(field))
    for field in [field for field in fields if field != HASH] or fields:
        old, new = stored.get(field, "nothing"), asked.get(field, "nothing")
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [f"{field} {line}" for line in differences(old, new)]
        else:
            name = "weights or their precision (hash)" if field == HASH else field
            lines.append(f"{name}: stored {_short(old)}, asked for {_short(new)}")
    return lines


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
