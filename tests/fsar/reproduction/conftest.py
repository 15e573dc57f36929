"""Cuts of benchmarks to the real clips beside the checkout, and a runner that starts no process."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fsar.__main__ import main as fsar

Cut = Callable[[str, int], Path]


@pytest.fixture
def cut(shared: Path, tmp_path: Path) -> Cut:
    """``cut("ucf13", 4)``: lists of all its classes with so many clips of each."""

    def write(name: str, clips: int) -> Path:
        splits = json.loads((shared / "videos" / "splits.json").read_text())[name]
        path = tmp_path / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["split", "class", "video"])
            for split in ("train", "val", "test"):
                for label, videos in splits[split].items():
                    writer.writerows([split, label.replace("_", " "), video] for video in videos[:clips])
        return path

    return write


def run_here(words: list[str], log: Path) -> int:
    """As :func:`fsar.reproduction.running.run_process` runs a command, in this process."""
    os.environ.pop("FSAR_RUN", None)
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            status = fsar(words)
        except SystemExit as end:
            if isinstance(end.code, str):
                file.write(f"{end.code}\n")
            status = 1 if end.code else 0
    return status or 0
