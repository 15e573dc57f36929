"""Ctrl-C while a real process works: one sentence, status 130, and what was computed is there for the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsar.__main__ import main

SLOW = """
import os, time

from episodes.frames import SegmentCentre

calls = 0

class Slow(SegmentCentre):
    def choose(self, frames, t, generator, fps):
        global calls
        calls += 1
        if str(calls) == os.environ.get("SLOW_AT"):
            open("reached", "w").close()
            time.sleep(120)
        return super().choose(frames, t, generator, fps)
"""
HEEDS_SIGINT = """
import runpy, signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in a background job hands on that it is ignored
runpy.run_module("fsar", run_name="__main__", alter_sys=True)
"""
AGAIN = {
    "test": "8 of 15 clips from the cache",
    "extract": "1 chunk of videos to encode, and 1 there already",
}


@pytest.mark.parametrize(
    ("line", "slow_at"),
    [
        ("test --run run -c {config}", 12),
        ("extract --store store --splits val test -c {config}", 20),
        ("predict -c {config} --support {support} --query {clips}/class_6", 9),
    ],
    ids=["test", "extract", "predict"],
)
def test_ctrl_c_ends_it_and_keeps_what_was_computed(
    line: str,
    slow_at: int,
    config: Path,
    clips: Path,
    support: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "slow_frames.py").write_text(SLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SLOW_AT", str(slow_at))
    monkeypatch.delenv("FSAR_RUN", raising=False)
    line = f"{line} --data.test_sampler slow_frames.Slow --data.video_batch 8"
    line = line.format(config=config, clips=clips, support=support)
    process = subprocess.Popen(
        [sys.executable, "-c", HEEDS_SIGINT, *line.split()], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 200
    while not (tmp_path / "reached").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    said = [row for row in err.splitlines() if not row.startswith(("INFO", "WARNING"))]
    assert said[-1].endswith("interrupted."), err
    assert "Traceback" not in err + out
    assert not (tmp_path / "run" / "results").exists()
    if kept := AGAIN.get(line.split()[0]):
        monkeypatch.setenv("SLOW_AT", "0")
        assert not main(line.split())
        assert kept in "".join([*capfd.readouterr(), caplog.text])
