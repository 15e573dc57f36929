"""Files of texts, as YAML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def read_texts(path: Path, reader: str) -> Any:
    """What a file holds.

    Args:
        path: of the file.
        reader: the option or class that asks, for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is neither YAML nor JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{reader}: {path} does not exist.")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{reader}: {path} is neither YAML nor JSON ({error}).") from error
