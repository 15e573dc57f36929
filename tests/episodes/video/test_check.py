"""Looking for unreadable videos, with workers that may die."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from episodes.video import (
    check_videos,
    find_unreadable,
    probe,
)
from episodes.video.check import _Worker


def test_check_videos(clips: Callable[[str], Path], broken: dict[Path, str]) -> None:
    whole = clips("h264.mp4")
    paths = [whole, *broken, clips("mpeg4_b.avi")]
    for quick in (True, False):
        results = {check.path: check for check in check_videos(paths, workers=2, quick=quick)}
        assert set(results) == {str(path) for path in paths}
        assert results[str(whole)].info == probe(whole)
        for path, cause in broken.items():
            assert cause in results[str(path)].cause
    causes = find_unreadable(paths, workers=1)
    assert list(causes) == [str(path) for path in broken]


def test_check_outlives_its_workers(clips: Callable[[str], Path]) -> None:
    worker, path = _Worker(quick=True, seconds=60.0), str(clips("h264.mp4"))
    try:
        assert worker.check(path).info is not None
        assert worker.process is not None
        worker.process.kill()
        worker.process.wait()
        assert "crashes the decoder" in worker.check(path).cause
        assert worker.check(path).info is not None
        worker.process.send_signal(signal.SIGSTOP)
        worker.seconds = 0.5
        assert "not read within 0.5 seconds" in worker.check(path).cause
        worker.seconds = 60.0
        assert worker.check(path).info is not None
    finally:
        worker.close()


def test_check_videos_can_be_left_early(clips: Callable[[str], Path]) -> None:
    some = check_videos([clips("h264.mp4")] * 50, workers=2)
    assert next(some).info is not None
    some.close()
    with pytest.raises(ValueError, match="workers >= 1"):
        next(check_videos([], workers=0))


def test_a_worker_whose_asker_was_ended_says_nothing() -> None:
    code = "from episodes.video.check import _serve; _serve()"
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert worker.stdout is not None
    worker.stdout.close()
    _, said = worker.communicate()
    assert (worker.returncode, said) == (0, b"")
