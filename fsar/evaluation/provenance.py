"""Where the numbers of an evaluation come from: code, packages, weights, seconds and memory."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from episodes.words import pluralise

PACKAGES = ("fsar", "torch", "torchvision", "lightning", "open_clip_torch", "av", "decord", "numpy")


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the packages that numbers may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Phases:
    """Seconds spent in each named phase, and the peak memory up to its end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, dict[str, int]] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to ``phase``."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self.memory[phase] = peak_memory()
        self._last = now

    @contextmanager
    def measure(self, phase: str, device: torch.device) -> Iterator[None]:
        """Count the block to ``phase`` and what came before it to ``data``; waits for the device at its end."""
        self.lap("data")
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.lap(phase)

    def record(self) -> dict[str, Any]:
        """Seconds and peak memory by phase; ``data`` is reading and decoding as far as the others waited for it."""
        return {"seconds": {k: round(v, 3) for k, v in self.seconds.items()}, "peak_memory_mb": self.memory}


def peak_memory() -> dict[str, int]:
    """The most memory that this process has held so far, in MB: ``host``, and ``device`` when there is one."""
    memory: dict[str, int] = {}
    if sys.platform != "win32":
        import resource

        scale = 2**20 if sys.platform == "darwin" else 2**10
        memory["host"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)
    if torch.cuda.is_available():
        memory["device"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return memory


def commit() -> str | None:
    """The git commit of this code, with ``+`` when files differ from it; None when it is no checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    head, changed = (
        subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=False).stdout.strip()
        for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    return (head + ("+" if changed else "")) or None


SAME = 0.999
"""Share of predictions that bfloat16 must leave as they are."""
SLOWER = 1.1
"""Times as long as float32 that it may take."""


def time_shares(result: dict[str, Any], videos: int, views: object = None) -> str:
    """One line: where the time of an evaluation went, and how many clips were encoded for how many videos, by several
    ``views`` if so."""
    seconds = {{"data": "decode"}.get(k, k): v for k, v in result["seconds"].items()}
    total = sum(seconds.values())
    shares = ", ".join(f"{name} {value / max(total, 1e-9):.0%}" for name, value in seconds.items())
    encoded = pluralise(result["encoder_forwards"], "clip")
    beside = f" ({views})" if views is not None else ""
    return f"{total:.1f} s: {shares}; {encoded} encoded for {pluralise(videos, 'video')}{beside}"


def tell_scoring(results: Iterable[Mapping[str, Any]]) -> str:
    """Of evaluations that were scored in bfloat16, how many predictions are float32's of those that were compared; ""
    of float32."""
    found = [result["scoring"] for result in results if "scoring" in result]
    if not (compared := sum(each["compared"] for each in found)):
        return ""
    same = sum(each["same_predictions"] * each["compared"] for each in found) / compared
    slowest = max(each.get("times_float32") or 0 for each in found)
    slower = f", and it took {slowest:.2g} times as long" if slowest > SLOWER else ""
    advice = "" if same >= SAME and not slower else ": score in float32 (model.scoring)"
    return f"scored in bf16; {100 * same:.2f} % of {pluralise(compared, 'prediction')} are float32's{slower}{advice}"
