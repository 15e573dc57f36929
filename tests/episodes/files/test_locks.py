"""One writer of a folder at a time, whatever becomes of it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from episodes.files.locks import held_alone

HOLD = """import sys; from pathlib import Path; from episodes.files.locks import held_alone
with held_alone(Path(sys.argv[1])):
"""


def started(folder: Path, then: str) -> subprocess.Popen[str]:
    """Another process that takes the lock, then does something."""
    command = [sys.executable, "-c", f"{HOLD}    print('held', flush=True); {then}", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def test_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "anew"
    with held_alone(folder):
        second = started(folder, "pass")
        assert second.stderr is not None
        said = second.stderr.readline()
    assert said.startswith(f"{folder} is being written by process {os.getpid()} on ")
    assert second.communicate(timeout=60) == ("held\n", "")
    assert second.returncode == 0
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_or_is_refused(tmp_path: Path) -> None:
    first = started(tmp_path, "sys.stdin.read()")
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match=f"^process {first.pid} on .* is writing {tmp_path}: wait until it has"):
        held_alone(tmp_path, wait=False).__enter__()
    first.communicate("", timeout=60)
    with held_alone(tmp_path, wait=False):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        first = started(tmp_path, "sys.stdin.read()")
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        os.kill(first.pid, signal.SIGKILL)
        first.communicate(timeout=60)
        assert (tmp_path / ".lock-holder").exists()
        with held_alone(tmp_path, wait=False):
            pass


def test_an_error_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held_alone(tmp_path):
        _ = 1 / 0
    with held_alone(tmp_path, wait=False):
        pass


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*args: object, **options: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("episodes.files.locks.FileLock.acquire", acquire)
    with pytest.raises(OSError, match="keeps no locks, which keep two writers apart") as caught, held_alone(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path)
