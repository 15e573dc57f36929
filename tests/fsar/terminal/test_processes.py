"""A process that computes for another one does not outlive it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fsar.terminal import processes


@pytest.mark.parametrize(("looks", "waits"), [([7, 7, 1], 2), ([1], 0)])  # the second was too late to meet it
def test_a_process_of_a_table_ends_with_the_one_that_started_it(
    looks: list[int], waits: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed: list[tuple[int, int]] = []
    slept: list[float] = []
    monkeypatch.setattr(processes.time, "sleep", slept.append)
    monkeypatch.setattr(processes.os, "kill", lambda *args: killed.append(args))
    monkeypatch.setattr(processes.os, "getppid", lambda: looks.pop(0))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv(processes.PARENT, "7")
    processes.end_with_parent()
    for thread in threading.enumerate():
        if thread.name == "end-with-parent":
            thread.join(5)
    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert slept == [processes.SECONDS] * waits
    assert "is gone: this one ends, too" in capsys.readouterr().err
