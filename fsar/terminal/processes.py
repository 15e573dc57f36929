"""Several processes of one run: none is left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

PARENT = "FSAR_PARENT"
"""Variable with the number of the process that another one must not outlive."""

SECONDS = 1.0
"""Between two looks."""


def end_with_parent() -> None:
    """Where this process computes for one of several devices, or for a table: end it when the one that started it is
    gone.

    That one may have been killed, by the system's memory guard or a person. The others would find out only where all
    meet next, which in an evaluation may be hours later. The converse, a child that is gone, is watched by Lightning.
    """
    given = os.environ.get(PARENT)
    if os.name != "posix" or not ("LOCAL_RANK" in os.environ or given):
        return
    parent = os.getppid() if "LOCAL_RANK" in os.environ else int(given or 0)  # which may be gone already
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="end-with-parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS)
    sys.stderr.write("fsar: the process that started this one is gone: this one ends, too.\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)  # whatever it is waiting in
