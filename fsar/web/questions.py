"""What the page asks the process that holds the model: to read a clip, to name one, to draw how two were aligned."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from av.container import InputContainer

from episodes.video import VideoError
from episodes.video.limits import TooManyPixels
from episodes.video.opening import open_stream
from fsar.web.uploads import Limits, Refused
from fsar.web.worker import Worker, without_folders

MEMORY = 8 * 2**30
"""Bytes that may be added to what the process holds once the model is loaded; on a CPU under Linux."""


class ShownAnswer(TypedDict):
    """An answer as the page shows it, in types that need no torch: frames uint8 ``(t h w c)``, maps ``(t u)``."""

    ranking: tuple[tuple[str, float], ...]
    unlike_all: bool
    note: str
    measure: str
    amounts: tuple[str, ...]
    explanation: str
    metric: str
    maps: dict[str, tuple[np.ndarray, np.ndarray]]
    paths: dict[str, dict[str, Any]]
    matched: dict[str, str]
    query: np.ndarray
    support: dict[str, np.ndarray]
    record: dict[str, Any]


def make_predictor(run: str | None, checkpoint: str, encoder: str | None, overrides: Sequence[str], device: str) -> Any:
    """The predictor of a run, or of a frozen CLIP ``model[:pretrained]``."""
    from fsar.inference.predictor import load_named

    predictor = load_named(run, (), encoder, checkpoint, overrides, device)
    predictor.data.cache = False  # nothing stays of what a visitor brings
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


def read_clip(predictor: Any, path: str, limits: Limits) -> None:
    """Read a clip as the method will, its header first.

    Raises:
        VideoError: when it cannot be read or is too much to decode.
    """
    check_header(path, limits)
    predictor.frames(path)


def see_clip(predictor: Any, path: str, limits: Limits) -> np.ndarray:
    """The middle one of the frames that the method sees, ``(h w c)``; VideoError as of :func:`read_clip`."""
    check_header(path, limits)
    frames: np.ndarray = predictor.frames(path)
    return frames[len(frames) // 2]


def check_header(path: str, limits: Limits) -> None:
    """Refuse a clip whose frames are too large or too many, without decoding one.

    Raises:
        VideoError: saying what was found and what is taken.
    """
    try:
        with open_stream(Path(path)) as stream:
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


def answer_query(predictor: Any, support: dict[str, list[str]], query: str) -> ShownAnswer:
    """What the predictor says of a query, and the frames that it compared: those of the query and of the first clip of
    each class.

    Raises:
        VideoError, ValueError: as the predictor.
    """
    found = predictor.predict(support, [query])[0]
    from fsar.drawing import name_lines  # here: a process of little memory that answers with an error needs no torch
    from fsar.evaluation.calibration import explain

    maps = found.alignments
    return {
        "ranking": found.ranking,
        "unlike_all": found.unlike_all,
        "note": found.note,
        "measure": found.measure,
        "amounts": tuple(found.amount(number, 1) for _, number in found.ranking),
        "explanation": f"{explain(found.calibration)} {found.threshold.explain()}",
        "metric": next((one.metric for one in maps.values()), ""),
        "maps": {name: (one.cost.numpy(), one.path.numpy()) for name, one in maps.items()},
        "paths": {name: dict(one.paths) for name, one in maps.items()},
        "matched": {
            name: ". ".join(filter(None, (one.describe(name), name_lines(one.paths)))) for name, one in maps.items()
        },
        "query": predictor.frames(query),
        "support": {name: predictor.frames(support[name][0]) for name in maps},
        "record": found.record() | {"clip": Path(found.clip).name},
    }


def draw_pictures(
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


class ClipQuestions:
    """Questions about clips, with the time limits and the messages of the page.

    Args:
        worker: holds a predictor.
        limits: what is taken.
    """

    def __init__(self, worker: Worker, limits: Limits) -> None:
        self.worker, self.limits = worker, limits

    def reading(self, support: dict[str, list[str]], query: str) -> Iterator[str]:
        """Reads every clip under its own time limit, and says so before each.

        Raises:
            Refused: with one readable message, whatever went wrong; of :meth:`answer` too.
        """
        paths = [*(file for files in support.values() for file in files), query]
        for number, path in enumerate(paths, 1):
            yield f"Reading clip {number} of {len(paths)}: {Path(path).name}"
            reading = partial(read_clip, path=path, limits=self.limits)
            self._ask(f"Reading {Path(path).name}", reading, self.limits.seconds)

    def answer(self, support: dict[str, list[str]], query: str) -> ShownAnswer:
        """What a query is taken for, of clips that were read before."""
        answering = partial(answer_query, support=support, query=query)
        found: ShownAnswer = self._ask("Comparing the clips", answering, self.limits.answer_seconds)
        return found

    def see(self, path: str) -> np.ndarray:
        """A frame of a clip, to be shown before anything is asked of it; Refused likewise."""
        seeing = partial(see_clip, path=path, limits=self.limits)
        frame: np.ndarray = self._ask(f"Reading {Path(path).name}", seeing, self.limits.seconds)
        return frame

    def pictures(self, found: ShownAnswer, name: str) -> tuple[bytes, bytes]:
        """The costs and the path of a query with a class, as PNG."""
        arrays = (found["query"], found["support"][name], *found["maps"][name], found["paths"][name])
        return self._ask("Drawing the map", draw_pictures, self.limits.answer_seconds, *arrays)

    def _ask(self, what: str, function: Callable[..., Any], seconds: float, *args: Any) -> Any:
        try:
            return self.worker.ask(function, *args, seconds=seconds)
        except TimeoutError as error:
            raise Refused(f"{what} was {error}: give a shorter clip or one with smaller frames.") from error
        except RuntimeError as error:
            raise Refused(f"{what} failed: {without_folders(str(error))}. The terminal may say more.") from error
