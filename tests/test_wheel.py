"""The wheel that is built from here holds all that a command needs, and works unpacked in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "fsar", "episodes", "configs", "tests/conftest.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked, built from a copy: neither the checkout nor an earlier build has a part in it."""
    pytest.importorskip("setuptools", "77")
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        (source / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(made)!r}))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(made.glob("*.whl"))) as file:
        file.extractall(made)
    return made


def fsar(wheel: Path, folder: Path, *args: str) -> str:
    """What a command of the unpacked wheel prints."""
    code = "import sys, fsar; from fsar.__main__ import main; assert fsar.__file__.startswith(sys.argv.pop(1)); main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(wheel), *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_what_the_commands_read(wheel: Path) -> None:
    held = {path.relative_to(wheel).as_posix(): path for path in wheel.rglob("*") if path.is_file()}
    shipped = {f"fsar/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    package = {
        path.relative_to(ROOT).as_posix()
        for folder in ("fsar", "episodes")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped | package <= set(held)
    assert not any(held[name].is_symlink() for name in held)
    assert not [name for name in held if name.startswith(("tests", "tools", "configs", "docs"))]


def test_it_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    assert "fsar configs" in fsar(wheel, tmp_path, "configs", "--help")
    assert "check-videos" in fsar(wheel, tmp_path, "--help")
    assert "method/clip_fsar_tiny" in fsar(wheel, tmp_path, "configs")
    printed = fsar(wheel, tmp_path, "configs", "data/shapes_motion")
    assert printed == (ROOT / "configs/data/shapes_motion.yaml").read_text()
    assert not list(tmp_path.iterdir())
