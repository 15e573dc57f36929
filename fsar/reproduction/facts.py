"""What was published, and how: the one file ``published.yaml``, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

FILE = Path(__file__).with_name("published.yaml")
QUOTED = {
    "paper": "quoted from its paper",
    "later": "quoted from later papers",
    "repository": "quoted from its repository",
    "recalled": "recalled, not looked up",
}
SAME_NUMBERS = {"kinetics100_clipfsar": "kinetics100", "ssv2_full_77500": "ssv2_full", "ucf101_xian": "ucf101"}
"""Variants of lists, and the benchmark under whose name recipes and numbers stand."""


@dataclass(frozen=True)
class Facts:
    """A method's published numbers; see the head of ``published.yaml``.

    Args:
        source: where to look before citing.
        quoted: a key of :data:`QUOTED`.
        data: which preset of the data a recipe was written beside.
        trained: once for all numbers of shots, or with the same shots as the test.
        differs: what of the published protocol ours does not do.
        lists: of a benchmark, where it is another one's.
        numbers: backbone -> benchmark -> (1-shot, 5-shot) in %.
    """

    source: str = ""
    quoted: str = "paper"
    data: Literal["published", "ours"] = "ours"
    trained: Literal["same", "once"] = "same"
    differs: tuple[str, ...] = ()
    lists: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Mapping[str, tuple[float | None, float | None]]] = field(default_factory=dict)

    def number(self, backbone: str, benchmark: str, shots: int) -> tuple[float | None, str]:
        """The published accuracy in % and the backbone it was published with: the one asked for, else the first."""
        asked = backbone if backbone in self.numbers else next(iter(self.numbers), "")
        both = self.numbers.get(asked, {}).get(SAME_NUMBERS.get(benchmark, benchmark))
        return (both[(1, 5).index(shots)] if both and shots in (1, 5) else None), asked

    def lists_of(self, benchmark: str) -> str:
        """The lists that the published numbers of a benchmark are on."""
        plain = SAME_NUMBERS.get(benchmark, benchmark)
        return self.lists.get(plain, plain)


@cache
def read_facts() -> dict[str, Facts]:
    """All methods with published numbers, by the name of their configuration."""
    entries: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {
        name: Facts(
            **{
                **entry,
                "differs": tuple(entry["differs"]),
                "numbers": {
                    backbone: {benchmark: tuple(pair) for benchmark, pair in rows.items()}
                    for backbone, rows in entry["numbers"].items()
                },
            }
        )
        for name, entry in entries.items()
    }


def facts_of(method: str) -> Facts:
    """Of one method; without a number where none was published.

    >>> facts_of("clip_fsar").number("ViT-B-16", "hmdb51", 5)
    (87.7, 'ViT-B-16')
    """
    return read_facts().get(method, Facts())
