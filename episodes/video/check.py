"""Find the videos of a data set that cannot be read, before training does.

Every file is tried in a worker process of its own making, with a time limit: a file that crashes the decoder or keeps
it busy for ever costs that worker, is reported as such, and the next file gets a new one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Timer
from typing import Any

import numpy as np

from episodes.video.images.names import LEFT_OUT, UNNUMBERED
from episodes.video.info import VideoError, VideoInfo, mark_told, tell_once
from episodes.video.likeness import draw, pack, spread
from episodes.video.reading import probe, read_frames, verify
from episodes.words import pluralise

_SERVE = "import sys; sys.path[:] = {path!r}; from episodes.video.check import _serve; _serve()"


@dataclass(frozen=True)
class ClipCheck:
    """What was found out about one video.

    Args:
        path: the file or folder, as it was given.
        info: what it holds, when it can be read.
        cause: why it cannot be read, else "".
        sketch: small pictures as text, see :func:`episodes.video.likeness.unpack`, when they were asked for.
    """

    path: str
    info: VideoInfo | None
    cause: str
    sketch: str = ""


def check_clip(path: str | Path, quick: bool = False, sketch: bool = False) -> ClipCheck:
    """Try one video, here and now, without a time limit.

    Args:
        path: file or folder of images.
        quick: read only a few frames, first and last among them, instead of decoding all.
        sketch: make small pictures of some frames, to compare it with others.
    """
    mark_told([path])  # the answer says it
    try:
        info = probe(path) if quick else verify(path)
        if sketch:
            return ClipCheck(str(path), info, "", pack(draw(read_frames(path, spread(info.frames)))))
        if quick:
            read_frames(path, np.unique([0, info.frames // 2, info.frames - 1]))
    except VideoError as error:
        return ClipCheck(str(path), None, error.cause)
    return ClipCheck(str(path), info, "")


def check_videos(
    paths: Iterable[str | Path], workers: int = 1, quick: bool = False, seconds: float = 60.0, sketch: bool = False
) -> Iterator[ClipCheck]:
    """Try many videos in parallel; results come as they are ready, not in order.

    Args:
        paths: files or folders of images.
        workers: how many processes work at a time.
        quick: see :func:`check_clip`.
        seconds: time limit for one file.
        sketch: see :func:`check_clip`.

    Raises:
        ValueError: when ``workers`` or ``seconds`` is not positive.
    """
    if workers < 1 or seconds <= 0:
        raise ValueError(f"check_videos needs workers >= 1 and seconds > 0, found {workers=}, {seconds=}.")
    team = [_Worker(quick, seconds, sketch) for _ in range(workers)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in team:
        idle.put(worker)

    def task(path: str) -> ClipCheck:
        worker = idle.get()
        try:
            return worker.check(path)
        finally:
            idle.put(worker)

    pool, todo = ThreadPoolExecutor(workers), (str(path) for path in paths)
    running: set[Future[ClipCheck]] = set()
    try:
        while True:
            running |= {pool.submit(task, path) for path in islice(todo, 2 * workers - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for worker in team:
            worker.stop()
        pool.shutdown(cancel_futures=True)
        for worker in team:
            worker.close()


def find_unreadable(
    paths: Iterable[str | Path],
    workers: int = 1,
    quick: bool = True,
    seconds: float = 60.0,
    images: dict[str, str] | None = None,
) -> dict[str, str]:
    """``{path: cause}`` of the videos that cannot be read, in the order of ``paths``; see :func:`check_videos`.

    One warning says from how many folders of frames images are left out, and shows the first; ``images`` gets
    ``{path: which}`` of all of them. Another one says how many have no numbers to be ordered by.
    """
    given = list(map(str, paths))
    checks = {check.path: check for check in check_videos(given, workers, quick, seconds)}
    said = {path: info.note for path in given if (info := checks[path].info)}
    for kind in (LEFT_OUT, UNNUMBERED):
        notes = {path: note for path, note in said.items() if kind in note}
        if images is not None and kind == LEFT_OUT:
            images |= notes
        if notes:
            first, *others = notes
            more = f" (and {pluralise(len(others), 'more folder')} of frames)" if others else ""
            tell_once(first, notes[first] + more)
            mark_told(others)
    return {path: checks[path].cause for path in given if checks[path].cause}


class _Worker:
    """A process that is asked about one file after another; a new one takes its place when it dies."""

    def __init__(self, quick: bool, seconds: float, sketch: bool = False) -> None:
        self.how, self.seconds = {"quick": quick, "sketch": sketch}, seconds
        self.lock = Lock()
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False

    def check(self, path: str) -> ClipCheck:
        process = self._running()
        timer = Timer(self.seconds, process.kill)
        timer.start()
        answer = _ask(process, {"path": path, **self.how})
        in_time = timer.is_alive()
        timer.cancel()
        if answer is None:
            with self.lock:
                _end(process)
                self.process = None
            cause = "it crashes the decoder" if in_time else f"not read within {self.seconds:g} seconds"
            return ClipCheck(path, None, f"{cause}: replace, re-encode or leave it out")
        info = answer["info"]
        return ClipCheck(path, VideoInfo(**info) if info else None, answer["cause"], answer["sketch"])

    def _running(self) -> subprocess.Popen[str]:
        with self.lock:
            if self.stopped:
                raise RuntimeError("check_videos was stopped.")
            if self.process is None:
                # Not multiprocessing: its workers would run the caller's script once more. A session of its own keeps
                # Ctrl-C away from it, so that the caller can end in good order.
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _SERVE.format(path=sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
                if _ask(self.process, None) is None:
                    raise RuntimeError("A worker process of check_videos did not start; its message stands above.")
            return self.process

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            if self.process is not None:
                self.process.kill()

    def close(self) -> None:
        if self.process is not None:
            _end(self.process)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    with suppress(BrokenPipeError):  # a question that it no longer reads
        process.communicate()


def _ask(process: subprocess.Popen[str], question: dict[str, Any] | None) -> dict[str, Any] | None:
    """One line of JSON to a worker and one back; None when it is dead."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if question is not None:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
    except (BrokenPipeError, ValueError):  # ValueError: stopped and closed meanwhile
        return None
    return json.loads(line) if line else None


def _serve() -> None:
    """A worker's life: say that it is there, then answer until nobody asks."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not print into the answers
    for line in chain([None], sys.stdin):
        check = check_clip(**json.loads(line)) if line else None
        try:
            print(json.dumps(asdict(check) if check else {}), file=answers, flush=True)
        except BrokenPipeError:  # who asked was ended meanwhile, and nobody is left to be told
            os._exit(0)
