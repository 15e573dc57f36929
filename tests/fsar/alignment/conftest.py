"""What the tests of alignments share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # before tslearn brings numba in
ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(Path(__file__).parent))  # for members.py


def load_tool(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """numba, inside tslearn, sets the number of OpenMP threads, which are torch's too; put it back."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def alignment_properties() -> ModuleType:
    return load_tool("alignment_properties")
