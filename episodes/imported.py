"""What a folder of features that were computed elsewhere says of itself; ``fsar import-features`` makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

ABOUT, VIDEOS = "import.json", "videos.csv"


class Import(NamedTuple):
    """What a folder of imported features says of itself.

    Args:
        made_by: what made them, in the words of whoever brought them.
        frames: which of the names is read as ``frames``.
        shapes: ``(t, d)`` by name.
        sha256: of names, arrays and ``made_by``.
        folder: of the store.
    """

    made_by: str
    frames: str
    shapes: dict[str, tuple[int, int]]
    sha256: str
    folder: str

    @property
    def identity(self) -> str:
        """What stands for an encoder's name in keys and messages."""
        return f"imported: {self.made_by}"


def is_imported(root: Path) -> bool:
    """Whether a folder was made by ``fsar import-features``."""
    return (root / ABOUT).is_file()


def read_import(root: Path) -> Import:
    """What the folder says.

    Raises:
        FileNotFoundError: when it holds no import.
        ValueError: when what it says is damaged.
    """
    if not is_imported(root):
        raise FileNotFoundError(f"{root} holds no imported features: `fsar import-features FILE -o {root}` makes them.")
    try:
        found = json.loads((root / ABOUT).read_text(encoding="utf-8"))
        shapes = {name: (int(t), int(d)) for name, (t, d) in found["shapes"].items()}
        return Import(found["made_by"], found["frames"], shapes, found["sha256"], found["folder"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{root / ABOUT} is damaged ({error}): import the features anew.") from error
