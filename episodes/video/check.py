"""Find the videos of a data set that cannot be read, before training does.

Every file is tried in a worker process of its own making, with a time limit: a file that crashes the decoder or keeps
it busy for ever costs that worker, is reported as such, and the next file gets a new one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Timer

import numpy as np

from episodes.video.info import VideoError, VideoInfo
from episodes.video.reading import probe, read_clip

_SERVE = "import sys; sys.path[:] = {path!r}; from episodes.video.check import _serve; _serve()"


@dataclass(frozen=True)
class ClipCheck:
    """What was found out about one video.

    Args:
        path: the file or folder, as it was given.
        info: what it holds, when it can be read.
        cause: why it cannot be read, else "".
    """

    path: str
    info: VideoInfo | None
    cause: str


def check_clip(path: str | Path, quick: bool = False) -> ClipCheck:
    """Try one video, here and now, without a time limit.

    Args:
        path: file or folder of images.
        quick: read only the first, the middle and the last frame instead of decoding all.
    """
    try:
        info = probe(path)
        wanted = np.unique([0, info.frames // 2, info.frames - 1]) if quick else np.array([info.frames - 1])
        read_clip(path, lambda frames, fps: wanted, "auto" if quick else "pyav", info)
    except VideoError as error:
        return ClipCheck(str(path), None, error.cause)
    return ClipCheck(str(path), info, "")


def check_videos(
    paths: Iterable[str | Path], workers: int = 1, quick: bool = False, seconds: float = 60.0
) -> Iterator[ClipCheck]:
    """Try many videos in parallel; results come as they are ready, not in order.

    Args:
        paths: files or folders of images.
        workers: how many processes work at a time.
        quick: see :func:`check_clip`.
        seconds: time limit for one file.

    Raises:
        ValueError: when ``workers`` or ``seconds`` is not positive.
    """
    if workers < 1 or seconds <= 0:
        raise ValueError(f"check_videos needs workers >= 1 and seconds > 0, found {workers=}, {seconds=}.")
    idle: SimpleQueue[_Worker] = SimpleQueue()
    team = [_Worker() for _ in range(workers)]
    for worker in team:
        idle.put(worker)

    def task(path: str | Path) -> ClipCheck:
        worker = idle.get()
        try:
            return worker.check(str(path), quick, seconds)
        finally:
            idle.put(worker)

    pool, todo = ThreadPoolExecutor(workers), iter(paths)
    running: set[Future[ClipCheck]] = set()
    try:
        while running or not running:
            running |= {pool.submit(task, path) for path in islice(todo, 2 * workers - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in team:
            worker.stop()


def find_unreadable(
    paths: Iterable[str | Path], workers: int = 1, quick: bool = True, seconds: float = 60.0
) -> dict[str, str]:
    """``{path: cause}`` of the videos that cannot be read, in the order of ``paths``; see :func:`check_videos`."""
    paths = [str(path) for path in paths]
    causes = {check.path: check.cause for check in check_videos(paths, workers, quick, seconds) if check.cause}
    return {path: causes[path] for path in paths if path in causes}


class _Worker:
    """A process that is asked about one file after another; a new one is started when it has died."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False

    def check(self, path: str, quick: bool, seconds: float) -> ClipCheck:
        if self.process is None:
            # Not multiprocessing: that would run the caller's main script again in every worker.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVE.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._answer({"ready": True}, 120.0)
        answer, late = self._answer({"path": path, "quick": quick}, seconds)
        if answer is None:
            self.stop()
            self.stopped = False
            cause = f"not read within {seconds:g} seconds" if late else "it crashes the decoder"
            return ClipCheck(path, None, f"{cause}: replace, re-encode or leave it out")
        info = answer["info"]
        return ClipCheck(path, VideoInfo(**info) if info else None, answer["cause"])
