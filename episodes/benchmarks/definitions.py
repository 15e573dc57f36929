"""What is known of the published benchmarks: their classes in order, how many videos, and where the lists are.

The facts stand in the YAML files beside this one. Which videos belong to a class does not: those lists are fetched by
``fsar splits`` and checked against what stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Dataset = Literal["ssv2", "kinetics", "ucf101", "hmdb51"]
Names = Literal["clean", "published"]
SPLITS = ("train", "val", "test")
FILES = ("ssv2", "kinetics100", "ucf101", "hmdb51")


@dataclass(frozen=True)
class ListSource:
    """Where a benchmark's lists were published.

    Args:
        title: whose they are.
        address: of the file of each split.
        sha256: of the file of each split.
    """

    title: str
    address: Mapping[str, str]
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Definition:
    """One published benchmark.

    Args:
        name: such as ``ssv2_full``.
        dataset: whose videos it uses.
        paper: that introduced it.
        note: who uses these lists.
        classes: per split, in the published order, as lists write them.
        texts: class -> the text that released CLIP-FSAR gives to CLIP, where it is not the clean one.
        videos: how many, per split.
        per_class: fewest and most videos of a class, per split.
        sha256: of what the lists say, whatever their format; see :meth:`episodes.benchmarks.Lists.sha256`.
        sources: of the lists.
        opposites: pairs of classes of one split that are time reversals of each other.
    """

    name: str
    dataset: Dataset
    paper: str
    note: str
    classes: Mapping[str, tuple[str, ...]]
    texts: Mapping[str, str]
    videos: Mapping[str, int]
    per_class: Mapping[str, tuple[int, int]]
    sha256: str
    sources: tuple[ListSource, ...]
    opposites: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def text(self, name: str, names: Names = "clean") -> str:
        """What a text encoder reads for a class: the clean text, or what released CLIP-FSAR gives to CLIP.

        No text was released for validation classes; theirs follow the same pattern.
        """
        return self.texts.get(name, clean_text(name)) if names == "published" else clean_text(name)


def clean_text(name: str) -> str:
    """A class name in words: no brackets, no underscores, CamelCase taken apart ("BlowDryHair": "Blow Dry Hair").

    >>> clean_text("BlowDryHair")
    'Blow Dry Hair'
    """
    text = re.sub(r"[\[\]]", "", name).replace("_", " ")
    return text if " " in text else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)


@cache
def definitions() -> dict[str, Definition]:
    """All published benchmarks by name."""
    found: dict[str, Definition] = {}
    for file in FILES:
        entries = yaml.safe_load(Path(__file__).with_name(f"{file}.yaml").read_text(encoding="utf-8"))
        for name, entry in entries.items():
            if isinstance(entry["classes"], str):  # the same classes as another benchmark
                other = entries[entry["classes"]]
                entry |= {key: other[key] for key in ("classes", "published_text", "opposites") if key in other}
            found[name] = _definition(name, entry)
    return found


def definition(name: str) -> Definition:
    """The published benchmark called ``name``.

    Raises:
        ValueError: when there is none; the message lists those that there are.

    >>> definition("hmdb51").videos
    {'train': 4280, 'val': 1194, 'test': 1292}
    """
    known = definitions()
    if name not in known:
        raise ValueError(f"there is no published benchmark {name!r}; known are {', '.join(known)}.")
    return known[name]


def _definition(name: str, entry: dict[str, Any]) -> Definition:
    texts = dict(entry.get("published_text", {}))
    classes = {}
    for split in SPLITS:
        templates = entry["classes"][split]  # in Something-Something with brackets, elsewhere plain names
        classes[split] = tuple(re.sub(r"[\[\]]", "", template) for template in templates)
        texts |= {c: t for c, t in zip(classes[split], templates, strict=True) if c != t}
    return Definition(
        name=name,
        dataset=entry["dataset"],
        paper=entry["paper"],
        note=entry["note"],
        classes=classes,
        texts=texts,
        videos=entry["videos"],
        per_class={split: (few, many) for split, (few, many) in entry["per_class"].items()},
        sha256=entry["sha256"],
        sources=tuple(_source(source) for source in entry["sources"]),
        opposites={s: tuple((a, b) for a, b in pairs) for s, pairs in entry.get("opposites", {}).items()},
    )


def _source(entry: dict[str, str]) -> ListSource:
    address = {split: entry["address"].replace("{split}", split) for split in SPLITS}
    return ListSource(entry["title"], address, {split: entry[split] for split in SPLITS})
