"""The process that decodes clips and holds the model. The page's own process opens no video.

A clip that keeps the decoder busy, eats the memory or crashes it costs this process and nothing else: it is ended, a
new one takes its place, and the page says so.
"""

from __future__ import annotations

import multiprocessing
import re
import shutil
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

from episodes.video import VideoError
from fsar.web.uploads import Refused

START_SECONDS = 600.0
"""To load a model, which may first be downloaded."""


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
        """Returns when the process can be asked; RuntimeError with the message of what could not be made."""
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
