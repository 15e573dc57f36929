"""Encoders as ``--encoders`` names them, and the folders of their results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def name_folders(words: Sequence[str]) -> dict[str, str]:
    """``{word: folder}`` of the encoders' results, below one: of a file its stem.

    Raises:
        ValueError: two of them would have one folder.
    """
    names = [re.sub(r"[^\w.-]+", "_", shorten(word)) for word in words]
    if twice := next((name for name in names if names.count(name) > 1), None):
        same = [word for word, name in zip(words, names, strict=True) if name == twice]
        raise ValueError(f"--encoders {' '.join(same)}: their results would share the folder {twice}; name them apart.")
    return dict(zip(words, names, strict=True))


def shorten(word: str) -> str:
    """An encoder's name without the folders and suffix of a file in it: ``runs/a.yaml`` is ``a``."""
    head, colon, file = word.rpartition(":")
    plain = Path(file).stem if "/" in file or file.endswith((".yaml", ".yml")) else file
    return f"{head}{colon}{plain}"
