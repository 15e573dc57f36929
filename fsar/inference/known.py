"""Known classes: K clips of each as support, all the others named and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from episodes.listing import normal
from episodes.words import pluralise


def draw_known(
    clips: Mapping[str, Sequence[Path]], shots: int, seed: int = 0
) -> tuple[dict[str, list[Path]], dict[Path, str]]:
    """Clips divided into support and test.

    Args:
        clips: ``{class: clips}``.
        shots: support clips of each class.
        seed: of the draw; the same seed draws the same clips of the same names everywhere.

    Returns:
        ``{class: support clips}``, and ``{clip: class}`` of all the others.

    Raises:
        ValueError: when a class has no clip left to test.
    """
    few = [f"{name} ({len(some)})" for name, some in clips.items() if len(some) <= shots]
    if few:
        raise ValueError(
            f"{', '.join(few[:3])}{f' and {len(few) - 3} more' if len(few) > 3 else ''}: "
            f"{pluralise(shots, 'clip')} of each class "
            "are support, and one or more must be left to test. Lower --shots, or add clips."
        )
    support: dict[str, list[Path]] = {}
    rest: dict[Path, str] = {}
    for name, some in clips.items():

        def key(clip: Path, name: str = name) -> bytes:
            return hashlib.sha256(
                f"{seed}/{normal(name)}/{normal(clip.name)}".encode(errors="surrogateescape")
            ).digest()

        order = sorted(some, key=key)
        support[name] = sorted(order[:shots])
        rest |= dict.fromkeys(sorted(order[shots:]), name)
    return support, rest
