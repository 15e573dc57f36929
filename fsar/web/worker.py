"""The process that decodes clips and holds the model. The page's own process opens no video.

A clip that keeps the decoder busy, eats the memory or crashes it costs this process and nothing else: it is ended, a
new one takes its place, and the page says so.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, TypedDict

import numpy as np
from av.container import InputContainer

from episodes.video import VideoError
from episodes.video.limits import TooManyPixels
from episodes.video.opening import opened
from fsar.web.uploads import Limits, Refused

START_SECONDS = 600.0
"""To load a model, which may first be downloaded."""
MEMORY = 8 * 2**30
"""Bytes that may be added to what the process holds once the model is loaded; on a CPU under Linux."""


class Found(TypedDict):
    """An answer as the page shows it, in types that need no torch: frames uint8 ``(t h w c)``, maps ``(t u)``."""

    ranking: tuple[tuple[str, float], ...]
    unlike_all: bool
    similarity: float
    note: str
    explanation: str
    metric: str
    maps: dict[str, tuple[np.ndarray, np.ndarray]]
    paths: dict[str, dict[str, Any]]
    matched: dict[str, str]
    query: np.ndarray
    support: dict[str, np.ndarray]


class Worker:
    """A process with something in it that answers one question after another.

    Args:
        make: makes what the questions are about, in the process; must survive pickling.
        folder: deleted by the process when it finds itself alone.
        debug: show the traceback when it cannot be made.
    """

    def __init__(self, make: Callable[[], Any], folder: Path, debug: bool = False) -> None:
        self._life = (make, folder, debug)
        self._lock, self._closed = Lock(), False
        self._start()

    def ask(self, function: Callable[..., Any], *args: Any, seconds: float) -> Any:
        """``function(what was made, *args)``, computed in the process.

        Raises:
            Refused: when it raised VideoError or ValueError; with that message.
            TimeoutError: when it took longer; the process is ended and a new one started.
            RuntimeError: when it raised something else, or crashed the process.
        """
        with self._lock:
            if not self._process.is_alive():
                self._renew()
            self._wait()
            with suppress(BrokenPipeError):  # it died meanwhile, which receiving tells
                self._connection.send((function, args))
            return self._receive(seconds)

    def ready(self) -> None:
        """Returns when the process can be asked.

        Raises:
            RuntimeError: with the message of what could not be made.
        """
        with self._lock:
            self._wait()

    def close(self) -> None:
        """Ends the process for good."""
        self._closed = True
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._life), daemon=True)
        self._process.start()
        theirs.close()
        self._loaded = False

    def _renew(self) -> None:
        self._process.kill()
        self._process.join()
        if not self._closed:
            self._connection.close()
            self._start()

    def _wait(self) -> None:
        if not self._loaded:
            self._receive(START_SECONDS)
            self._loaded = True

    def _receive(self, seconds: float) -> Any:
        try:
            if not self._connection.poll(seconds):
                self._renew()
                raise TimeoutError(f"given up after {seconds:g} seconds")
            kind, value = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._renew()
            raise RuntimeError("the process that reads clips crashed or ran out of memory") from None
        if kind == "refused":
            raise Refused(value)
        if kind == "failed":
            raise RuntimeError(value)
        return value


def _serve(connection: Connection, make: Callable[[], Any], folder: Path, debug: bool) -> None:
    """The life of the process: make, say that it is there, answer until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the page's business, which ends this one
    try:
        made = make()
    except Exception as error:
        if debug:
            traceback.print_exc()
        connection.send(("failed", f"{type(error).__name__}: {error}"))
        return
    connection.send(("answer", None))
    while True:
        try:
            function, args = connection.recv()
        except EOFError:  # the page's process is gone without having ended this one: it was killed
            shutil.rmtree(folder, ignore_errors=True)
            return
        try:
            reply = ("answer", function(made, *args))
        except VideoError as error:
            reply = ("refused", f"{Path(error.path).name}: {error.cause}" if error.cause else str(error))
        except ValueError as error:
            reply = ("refused", without_folders(str(error)))
        except Exception as error:
            traceback.print_exc()
            reply = ("failed", f"{type(error).__name__}: {error}")
        connection.send(reply)


def without_folders(text: str) -> str:
    """A message with files named as the person before the page knows them, not where they lie on this machine."""
    return re.sub(r"(?<![\w:/.])(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\"]+)*[\\/](?=[^\\/\s'\"]+)", "", text)


def make_predictor(run: str | None, checkpoint: str, encoder: str | None, overrides: Sequence[str], device: str) -> Any:
    """The predictor of a run, or of a frozen CLIP ``model[:pretrained]``."""
    from fsar.inference.predictor import load_named

    predictor = load_named(run, (), encoder, checkpoint, overrides, device)
    if predictor.learner.device.type == "cpu":
        limit_memory(MEMORY)
    return predictor


def limit_memory(more: int) -> None:
    """This process may take ``more`` bytes of address space than it has now; what asks for more fails. Linux only."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + more,) * 2)


def read(predictor: Any, path: str, limits: Limits) -> None:
    """Read a clip as the method will, its header first.

    Raises:
        VideoError: when it cannot be read or is too much to decode.
    """
    check_header(path, limits)
    predictor.frames(path)


def check_header(path: str, limits: Limits) -> None:
    """Refuse a clip whose frames are too large or too many, without decoding one.

    Raises:
        VideoError: saying what was found and what is taken.
    """
    try:
        with opened(Path(path)) as stream:
            width, height, container = stream.width, stream.height, stream.container
            assert isinstance(container, InputContainer)
            packets = sum(1 for _ in islice(container.demux(stream), limits.frames + 2))
    except TooManyPixels:
        raise
    except VideoError:  # reading it will say what is wrong
        return
    if width * height > limits.pixels:
        raise VideoError(
            path, f"frames of {width} x {height} pixels, and at most {limits.pixels:,} are taken: scale it down"
        )
    if packets > limits.frames + 1:  # the last one is empty
        raise VideoError(path, f"more than {limits.frames:,} frames: cut out the part that matters")


def answer(predictor: Any, support: dict[str, list[str]], query: str) -> Found:
    """What the predictor says of a query, and the frames that it compared: those of the query and of the first clip of
    each class.

    Raises:
        VideoError, ValueError: as the predictor.
    """
    found = predictor.predict(support, [query])[0]
    from fsar.drawing import (
        name_lines,  # here, for a process of little memory that answers with an error needs no torch
    )

    maps = found.alignments
    return {
        "ranking": found.ranking,
        "unlike_all": found.unlike_all,
        "similarity": found.similarity,
        "note": found.note,
        "explanation": found.threshold.explain(),
        "metric": next((one.metric for one in maps.values()), ""),
        "maps": {name: (one.cost.numpy(), one.path.numpy()) for name, one in maps.items()},
        "paths": {name: dict(one.paths) for name, one in maps.items()},
        "matched": {name: f"{one.describe(name)}. {name_lines(one.paths)}" for name, one in maps.items()},
        "query": predictor.frames(query),
        "support": {name: predictor.frames(support[name][0]) for name in maps},
    }


def pictures(
    _: Any,
    query: np.ndarray,
    support: np.ndarray,
    cost: np.ndarray,
    path: np.ndarray,
    paths: dict[str, Any] | None = None,
) -> tuple[bytes, bytes]:
    """PNG of the costs and of the path, with the frames along their sides and the best ``paths`` as lines."""
    import torch

    from fsar.drawing import COSTS, PATH, draw_matrix

    files = []
    for values, colours, lines in ((cost, COSTS, None), (path, PATH, paths)):
        file = io.BytesIO()
        draw_matrix(query, support, torch.from_numpy(values), colours, lines).savefig(file)
        files.append(file.getvalue())
    return files[0], files[1]


class Reader:
    """Questions about clips, with the time limits and the messages of the page.

    Args:
        worker: holds a predictor.
        limits: what is taken.
    """

    def __init__(self, worker: Worker, limits: Limits) -> None:
        self.worker, self.limits = worker, limits

    def answer(self, support: dict[str, list[str]], query: str) -> Found:
        """What a query is taken for, every clip read beforehand under its own time limit.

        Raises:
            Refused: with one readable message, whatever went wrong.
        """
        for path in [*(file for files in support.values() for file in files), query]:
            self._ask(f"Reading {Path(path).name}", partial(read, path=path, limits=self.limits), self.limits.seconds)
        return self._ask(
            "Comparing the clips", partial(answer, support=support, query=query), self.limits.answer_seconds
        )

    def pictures(self, found: Found, name: str) -> tuple[bytes, bytes]:
        """The costs and the path of a query with a class, as PNG."""
        arrays = (found["query"], found["support"][name], *found["maps"][name], found["paths"][name])
        return self._ask("Drawing the map", pictures, self.limits.answer_seconds, *arrays)

    def _ask(self, what: str, function: Callable[..., Any], seconds: float, *args: Any) -> Any:
        try:
            return self.worker.ask(function, *args, seconds=seconds)
        except TimeoutError as error:
            raise Refused(f"{what} was {error}: give a shorter clip or one with smaller frames.") from error
        except RuntimeError as error:
            raise Refused(f"{what} failed: {without_folders(str(error))}. The terminal may say more.") from error
