"""A little folder of clips for the tests of data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine classes of five clips, each a folder of four small frames."""
    root = tmp_path_factory.mktemp("folder")
    for label in range(9):
        for clip in range(5):
            folder = root / f"class_{label}" / f"clip{clip}"
            folder.mkdir(parents=True)
            for frame in range(4):
                Image.fromarray(np.full((10, 12, 3), label * 20 + clip, dtype=np.uint8)).save(folder / f"{frame}.png")
    return root
