"""What the tests of alignments share."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # before tslearn brings numba in
sys.path.append(str(Path(__file__).parent))  # for members.py


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """numba, inside tslearn, sets the number of OpenMP threads, which are torch's too; put it back."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def alignment_properties() -> ModuleType:
    return importlib.import_module("fsar.alignment.properties")
