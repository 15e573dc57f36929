"""Videos with burnt-in frame numbers, made when a test first asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import burnt


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a name in ``burnt.KINDS`` or ``burnt.CUTS`` to the file; skips where its encoder is missing."""
    folder = tmp_path_factory.mktemp("burnt")

    def clip(name: str) -> Path:
        try:
            return burnt.make(folder, name)
        except LookupError as error:
            pytest.skip(str(error))

    return clip


@pytest.fixture
def broken(clips: Callable[[str], Path], tmp_path: Path) -> dict[Path, str]:
    """Broken videos of many kinds, and words of what must be said of each."""
    return burnt.broken(tmp_path, clips("h264.mp4"))
