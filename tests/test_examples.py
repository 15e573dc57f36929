"""The examples in docstrings print what stands there."""

from __future__ import annotations

import doctest
import functools
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
FILES = [file for package in ("episodes", "fsar") for file in sorted((ROOT / package).rglob("*.py"))]
MODULES = [file.relative_to(ROOT) for file in FILES if ">>> " in file.read_text()]
ILLUSTRATED = ("fsar.alignment", "fsar.encoders", "fsar.fusion", "fsar.methods", "fsar.objectives", "fsar.temporal")
ILLUSTRATED += ("fsar.shots", "episodes.frames")
"""Rooms whose every public class has an example, and where there are none, every function."""

WHOLE = (
    "fsar",
    "fsar.adapters",
    "fsar.encoders",
    "fsar.evaluation",
    "fsar.inference",
    "fsar.methods",
    "fsar.objectives",
)
WHOLE += ("fsar.sharing", "fsar.training")
WHOLE += ("episodes.benchmarks", "episodes.features", "episodes.listing", "episodes.splits", "episodes.video")
"""Rooms with an example in the package; what it makes is there in the examples of all that the room exports."""
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
LENT = {"fsar.methods": ("encoder", "episode"), "fsar.objectives": ("step",)}


@functools.cache
def lent(room: str) -> dict[str, object]:
    """What the example of a room makes, for those of its parts."""
    module = importlib.import_module(room)
    names = {**vars(module), "torch": torch}
    example = doctest.DocTestParser().get_doctest(module.__doc__ or "", names, room, None, None)
    doctest.DocTestRunner(verbose=False).run(example, out=lambda _: None, clear_globs=False)
    return {name: example.globs[name] for name in LENT[room]}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_examples_print_what_they_say(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # for those that write
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    given = {"Path": Path, "np": np, "torch": torch}
    for room in LENT:
        given |= lent(room) if name.startswith(f"{room}.") else {}
    result = doctest.testmod(module, extraglobs=given, optionflags=FLAGS)
    assert result.attempted
    assert not result.failed, "what is wrong stands above"


def exported(module: ModuleType) -> dict[str, object]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    found = {name: getattr(module, name) for name in names}
    classes = {name: part for name, part in found.items() if inspect.isclass(part)}
    own = module.__name__
    functions = {name: part for name, part in found.items() if inspect.isfunction(part) and part.__module__ == own}
    return {name: part for name, part in classes.items() if part.__module__.startswith(own)} or functions


@pytest.mark.parametrize("name", ILLUSTRATED)
def test_every_part_has_an_example(name: str) -> None:
    parts = exported(importlib.import_module(name))
    assert parts
    bare = [part for part, value in parts.items() if ">>> " not in (inspect.getdoc(value) or "")]
    assert not bare, f"{name}: {bare} have no example in their docstrings"


@pytest.mark.parametrize("name", WHOLE)
def test_every_room_has_an_example(name: str) -> None:
    assert ">>> " in (importlib.import_module(name).__doc__ or "")
