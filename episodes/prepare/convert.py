"""From videos as they come to videos that train fast; parallel, and able to go on where it was interrupted."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from episodes.features.identity import Identity, identify
from episodes.files import write_atomically
from episodes.files.locks import held_alone
from episodes.listing import VIDEO_SUFFIXES
from episodes.prepare.sources import is_replaced, note_source, read_sources, write_sources
from episodes.prepare.write import frames_of, write_h264, write_jpegs
from episodes.video import VideoError, probe
from episodes.video.info import Pixels
from episodes.video.packed import FRAMES, SUFFIX, PackWriter
from episodes.words import pluralise

Form = Literal["h264", "jpeg", "pack"]
RECORD = "prepared.json"
SHOWN = 20
"""Names that stand for several videos, of which a message shows so many."""


@dataclass(frozen=True)
class Settings:
    """What is made of each video.

    Args:
        form: ``h264``: all-intra H.264 in .mp4, every frame a key frame; ``jpeg``: a folder of images; ``pack``: a
            store of uint8 frames, see :mod:`episodes.video.packed`.
        short_side: pixels; smaller videos keep their size.
        frames: how many frames of each video are kept, the centres of as many equal segments; 0 for all. With an odd
            multiple of the frames of a clip, the clips of ``SegmentCentre`` stay exactly what they were.
        crf: of H.264; lower is better and larger.
        quality: of JPEG, 1 to 95.
        fps: of folders of frames, which do not tell it; 0 for unknown.

    Raises:
        ValueError: for a value out of range.
    """

    form: Form
    short_side: int = 256
    frames: int = 0
    crf: int = 20
    quality: int = 92
    fps: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"short_side": (1, 8192), "frames": (0, 1 << 31), "crf": (0, 51), "quality": (1, 95), "fps": (0, 1000)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in {low}..{high}, found {getattr(self, name)}.")


class PreparedClip(NamedTuple):
    """Frames ``(t h w c)`` that go into a packed store, and their frames per second."""

    pixels: Pixels
    fps: float


def prepare(
    root: Path,
    out: Path,
    videos: Sequence[str],
    settings: Settings,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    verify: bool = False,
    notes: list[str] | None = None,
) -> dict[str, str]:
    """Prepares videos; what an earlier, interrupted call has made is kept, unless the video it was made of was replaced
    since: then it is made anew. Of two processes that write to one place the second waits for the first, and then finds
    made what both were to make.

    Args:
        root: the folder that the paths start from.
        out: where the results go, under the same paths; for ``pack`` the store, its name ending in ``.pack``.
        videos: paths of videos or folders of frames relative to ``root``.
        settings: what to make of them.
        workers: processes.
        progress: called with (videos done, videos in all).
        verify: read a packed store back and make anew the clips that are not what was written.
        notes: gets a line on the videos that were replaced.

    Returns:
        ``{path: cause}`` of the videos that could not be read.

    Raises:
        ValueError: when two videos would become one file, or ``out`` lies in ``root``, has a wrong ending, was made
            otherwise or holds what nobody prepared.
        RuntimeError: when a file brings a worker process down.
    """
    _check_places(root, out, videos, settings.form)
    failed: dict[str, str] = {}
    attempt = partial(_attempt, root=root, out=out, settings=settings)
    packed_at = (out / FRAMES).stat().st_mtime if (out / FRAMES).exists() else 0.0
    with PackWriter(out, verify) if settings.form == "pack" else held_alone(out) as store:
        _record(out, settings)
        made = dict.fromkeys(_in(store, videos), packed_at) if store else _made_at(out, videos, settings.form)
        known = read_sources(out)
        replaced = [video for video, then in made.items() if is_replaced(root / video, name_of(video), then, known)]
        write_sources(out, known)
        if replaced and notes is not None:
            more = " and others" if len(replaced) > 1 else ""
            notes.append(f"{pluralise(len(replaced), 'source')} changed since ({replaced[0]}{more}): made anew")
        todo = [video for video in videos if video not in made or video in set(replaced)]
        count = len(videos) - len(todo)
        for video, (clip, source, cause) in _run(todo, attempt, workers):
            if cause:
                failed[video] = cause + ("; what was made of the former one stays" if video in made else "")
            elif store and clip:
                store.add(name_of(video), clip.pixels, clip.fps)
            if source:
                note_source(out, name_of(video), source)
            count += 1
            if progress is not None:
                progress(count, len(videos))
    return failed


def _check_places(root: Path, out: Path, videos: Sequence[str], form: Form) -> None:
    if out.resolve().is_relative_to(root.resolve()):
        raise ValueError(
            f"{out} is {root} or lies in it, where what is prepared would be taken for sources: name a folder outside."
        )
    if form != "pack" and out.suffix == SUFFIX:
        raise ValueError(f"{out} is the name of a packed store; give {form} another.")
    by_name: dict[str, list[str]] = {}
    for video in videos:
        by_name.setdefault(name_of(video), []).append(video)
    if twice := [f"{', '.join(some)} would all become '{name}'" for name, some in by_name.items() if len(some) > 1]:
        more = f"; and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
        raise ValueError(f"{'; '.join(twice[:SHOWN])}{more}: leave out all but one of each.")
    goals = () if form == "pack" or (out / RECORD).exists() else (target(out, video, form) for video in videos)
    if foreign := next((goal for goal in goals if goal.exists()), None):
        raise ValueError(
            f"{foreign} is there, and was not prepared by this ({out / RECORD} is not): name another folder."
        )


def _in(store: PackWriter, videos: Sequence[str]) -> list[str]:
    return [video for video in videos if name_of(video) in store.places]


def _made_at(out: Path, videos: Sequence[str], form: Form) -> dict[str, float]:
    """When each of those that are made was made, in seconds."""
    goals = ((video, target(out, video, form)) for video in videos)
    return {video: goal.stat().st_mtime for video, goal in goals if goal.exists()}


def name_of(video: str) -> str:
    """The path of a video without its ending: what it is called in its new form."""
    stem, suffix = os.path.splitext(video)
    return stem if suffix.lower() in VIDEO_SUFFIXES else video


def target(out: Path, video: str, form: Form) -> Path:
    """Where a video is found afterwards."""
    return out / (name_of(video) + (".mp4" if form == "h264" else ""))


def prepare_one(video: str, root: Path, out: Path, settings: Settings) -> PreparedClip | None:
    """Prepares one video: a PreparedClip for a packed store, or a file or folder that appears when it is complete.

    Raises:
        VideoError: when it cannot be read.
    """
    source, goal = root / video, target(out, video, settings.form)
    info = probe(source)
    kept = min(settings.frames or info.frames, info.frames)
    fps = (info.fps or settings.fps) * kept / info.frames
    parts = frames_of(source, info, kept, settings.short_side)
    if settings.form == "pack":
        return PreparedClip(parts.stack(), fps)
    goal.parent.mkdir(parents=True, exist_ok=True)
    if settings.form == "jpeg":
        folder = goal.with_name(f".part-{goal.name}")
        shutil.rmtree(folder, ignore_errors=True)
        write_jpegs(folder, parts, settings.quality)
        shutil.rmtree(goal, ignore_errors=True)
        os.replace(folder, goal)
        return None
    if not fps:
        raise VideoError(source, "a folder of frames does not tell its frames per second: give them (--fps)")
    with write_atomically(goal) as part:
        write_h264(part, parts, fps, settings.crf)
        if (made := probe(part).frames) != kept:
            raise VideoError(
                source, f"{pluralise(kept, 'frame')} went in, {made} came out: report this file, or choose another form"
            )
    return None


class Attempt(NamedTuple):
    """A PreparedClip for a packed store, and what the source was; or why there is none."""

    clip: PreparedClip | None
    source: Identity | None
    cause: str


def _attempt(video: str, root: Path, out: Path, settings: Settings) -> Attempt:
    source = identify(root / video)  # before it is read: one that is replaced meanwhile is made anew the next time
    try:
        return Attempt(prepare_one(video, root, out, settings), source, "")
    except VideoError as error:
        return Attempt(None, None, error.cause)


def _run(videos: Sequence[str], attempt: Callable[[str], Attempt], workers: int) -> Iterator[tuple[str, Attempt]]:
    """Each video as it is ready."""
    if workers <= 1:
        for video in videos:
            yield video, attempt(video)
        return
    waiting = iter(videos)
    running: dict[Future[Attempt], str] = {}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        while True:
            for video in islice(waiting, 2 * workers - len(running)):
                running[pool.submit(attempt, video)] = video
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                try:
                    found = future.result()
                except BrokenProcessPool as error:
                    raise RuntimeError(
                        f"a worker process died on one of {', '.join(sorted(running.values()))}. Find the file with "
                        "fsar check-benchmark and take it away; what is done already stays done."
                    ) from error
                yield running.pop(future), found


def _record(out: Path, settings: Settings) -> None:
    """Writes down how ``out`` is made, and refuses to go on with one that was made otherwise."""
    file, wanted = out / RECORD, asdict(settings)
    if file.exists():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{file} is damaged ({error}), so that nobody knows how {out} was made. If it was "
                f"with {_words(wanted, wanted)}, remove that file and start again; else name another folder."
            ) from error
        if found != wanted:
            found = found if isinstance(found, dict) else {}
            differ = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
            raise ValueError(
                f"{out} was made with {_words(found, differ)}, and now {_words(wanted, differ)} is asked for: use the "
                "same, or another folder."
            )
    with write_atomically(file) as part:
        part.write_text(json.dumps(wanted) + "\n", encoding="utf-8")


def _words(settings: Mapping[str, Any], keys: Iterable[str]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {settings.get(key, 'unknown')}" for key in keys)
