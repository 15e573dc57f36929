"""The works of a table, one after the other, by any number of processes that share a folder.

``<out>/cells/<work>/`` holds what belongs to a work: ``changes.yaml``, ``log.txt``, ``state.json`` and ``run/``, a run
folder as any other. A process takes a work by the folder's lock, which ends with the process however that ends; what
others hold it passes by. A work that fails is recorded and the rest goes on; the next call tries it again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from episodes.files import write_atomically
from episodes.files.locks import held_alone
from fsar.evaluation.results import read_record, write_json
from fsar.reproduction.recipes import Asked, Work
from fsar.terminal.processes import PARENT

Runner = Callable[[list[str], Path], int]
"""Runs the words of ``fsar``, adds what it says to a file, and gives the exit status."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_process(words: list[str], log: Path) -> int:
    """Run ``fsar`` in a process of its own, so that whatever happens there ends nothing else.

    A Ctrl-C or SIGTERM is handed on, and the process waited for: a training then keeps what it has learned.

    Raises:
        KeyboardInterrupt: after one.
    """
    got: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        got.append(number)
        for child in children:
            with suppress(ProcessLookupError):
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in SIGNALS}  # first: one may come at any moment
    try:
        with log.open("a", encoding="utf-8") as file:
            command = [sys.executable, "-m", "fsar", *words]
            about = {**os.environ, PARENT: str(os.getpid())}  # killed, it takes the child along: the lock is gone, too
            children.append(
                subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env=about)
            )
            for number in got:
                children[0].send_signal(number)
            status = children[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGTERM in got:
        sys.exit(128 + signal.SIGTERM)
    if got:
        raise KeyboardInterrupt
    return status


class Cells:
    """The folder of a table.

    Args:
        out: of the table.
        asked: by the command line.
        run: runs a command of ``fsar``.
        say: takes a line about what is done.
    """

    def __init__(self, out: Path, asked: Asked, run: Runner = run_process, say: Callable[[str], None] = print) -> None:
        self.out, self.asked, self.run, self.say = out, asked, run, say
        self.started = time.time()

    def folder(self, work: Work) -> Path:
        """Of a work."""
        return self.out / "cells" / work.name

    def refuse_others(self, works: Sequence[Work]) -> None:
        """Raises ValueError where a work of the same name was begun with other options."""
        for work in works:
            file = self.folder(work) / "changes.yaml"
            if file.is_file() and file.read_text(encoding="utf-8") != self.changes(work):
                raise ValueError(
                    f"{self.folder(work)} was begun with another data set, budget, encoder or options (changes.yaml "
                    "there says which): name another folder with -o, or remove that one."
                )

    def changes(self, work: Work) -> str:
        """What is laid over the configurations of a work, as its file holds it."""
        trainer = {"enable_progress_bar": False, **work.changes.get("trainer", {})}
        plain = json.loads(json.dumps({**work.changes, "trainer": trainer}))
        head = f"# over {', '.join(work.files)}; options {' '.join(self.asked.options) or 'none'}\n"
        return head + yaml.safe_dump(plain, sort_keys=False)

    def result(self, work: Work, shots: int) -> dict[str, Any] | None:
        """The record of a test, None where it was not made yet."""
        found = sorted(self.folder(work).glob(f"run/results/test_*_{shots}shot*/results.json"), key=_age)
        records = [record for path in found if (record := read_record(path))]
        return records[-1] if records else None

    def left(self, work: Work) -> list[int]:
        """Numbers of shots that were not tested yet."""
        return [shots for shots in work.shots if self.result(work, shots) is None]

    def state(self, work: Work) -> dict[str, Any]:
        """What is recorded of a work: whether it is trained, and why it failed."""
        file = self.folder(work) / "state.json"
        return (read_record(file) if file.is_file() else None) or {}

    def work_off(
        self,
        works: Sequence[Work],
        trained: Mapping[str, bool],
        store: Mapping[str, str],
        after: Callable[[], object] = lambda: None,
    ) -> list[str]:
        """Do what is left; gives the names of works that other processes are at.

        Args:
            works: of the table.
            trained: by the name of a work, whether it trains anything.
            store: by the name of a work, the options of the store it reads; none for one that reads pixels.
            after: is called after each of them.
        """
        busy = []
        for work in works:
            if not self.left(work):
                self.say(f"{work.name}: done before")
                continue
            try:
                with self.held(work):
                    if self.left(work) and self.state(work).get("failed", 0) < self.started:
                        self.advance(work, trained[work.name], store.get(work.name, ""))
                        after()
            except BlockingIOError as error:
                busy.append(work.name)
                self.say(f"{work.name}: passed by, {error}")
        return busy

    @contextmanager
    def held(self, work: Work) -> Iterator[None]:
        """Hold a work, and look that no training goes on there whose parent was killed.

        Raises:
            BlockingIOError: for a work that another process is at.
        """
        folder = self.folder(work)
        with held_alone(folder, wait=False):
            with held_alone(folder / "run", wait=False):
                pass
            yield

    def advance(self, work: Work, trained: bool, store: str = "") -> None:
        """Train what is to be trained, from where it was left, and make the tests that are left."""
        folder = self.folder(work)
        with write_atomically(folder / "changes.yaml") as part:
            part.write_text(self.changes(work), encoding="utf-8")
        steps = list(self.steps(work, trained, store))
        for number, (stage, words) in enumerate(steps, 1):
            self.say(f"{work.name}: {stage} ({number} of {len(steps)}), see {folder / 'log.txt'}")
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"\n$ fsar {' '.join(words)}\n")
            start = time.time()
            status = self.run(words, folder / "log.txt")
            state = self.state(work)
            state.setdefault("seconds", {})
            state["seconds"][stage] = state["seconds"].get(stage, 0.0) + time.time() - start
            if status:
                state |= {"failed": time.time(), "stage": stage, "error": last_words(folder / "log.txt", status)}
                write_json(folder / "state.json", state)
                self.say(f"{work.name}: {stage} failed: {state['error']}")
                return
            state = {key: value for key, value in state.items() if key not in ("failed", "stage", "error")}
            write_json(folder / "state.json", {**state, stage: True})

    def steps(self, work: Work, trained: bool, store: str = "") -> Iterator[tuple[str, list[str]]]:
        """The commands that are left of a work, each with what it is."""
        folder, state = self.folder(work), self.state(work)
        run, left = str(folder / "run"), self.left(work)
        files = [word for name in (*work.files, str(folder / "changes.yaml")) for word in ("-c", name)]
        files += self.asked.options
        stored = ["--data.features", str(self.out / "features")] if store else []
        if store and not state.get("extract"):
            yield "extract", ["extract", "--store", str(self.out / "features"), *store.split(), *files]
        if trained and not state.get("fit"):
            going_on = resume_point(folder / "run")
            yield "fit", ["fit", "--run", run, *files, *stored, *(["--ckpt_path", str(going_on)] if going_on else [])]
        shots = ["--test_shots", *map(str, left)]
        yield "test", ["test", "--run", run, *([] if trained else [*files, *stored]), *shots]


def resume_point(run: Path) -> Path | None:
    """The newest checkpoint that a training can go on from."""
    found = [path for name in ("interrupted", "last") if (path := run / "checkpoints" / f"{name}.ckpt").is_file()]
    return max(found, key=_age, default=None)


def last_words(log: Path, status: int) -> str:
    """Why a command failed, from the end of what it said."""
    said = log.read_text(encoding="utf-8", errors="replace").rpartition("\n$ fsar ")[2].splitlines()[1:]
    said = [line.strip() for line in said if line.strip() and "--debug shows where" not in line]
    ours = [line for line in said if line.startswith("fsar")]
    how = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
    return f"{(ours or said or [''])[-1][:300]} ({how})".strip()


def _age(path: Path) -> int:
    return os.stat(path).st_mtime_ns
