"""Clips that came in over the network: what is refused unread, and when the files are deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from episodes.listing import VIDEO_SUFFIXES
from episodes.video import VideoError
from episodes.video.container import check_file as check_video_file

TOKEN = "held/"
"""What the names of held files begin with, as the browser knows them."""


class Refused(ValueError):
    """What was asked cannot be answered; the message is for the person before the page."""


@dataclass(frozen=True)
class Limits:
    """What is taken.

    Args:
        megabytes: of one file (of 2**20 bytes).
        classes: at most.
        clips: of one class.
        pixels: of one frame, as the file's header says.
        frames: of one clip, counted without decoding.
        seconds: to decode one clip.
        answer_seconds: to encode and compare all of them.
        uploads: that come at the same time.
        files: of one upload.
        upload_seconds: that an upload may stand still at its beginning.
    """

    megabytes: float = 50
    classes: int = 10
    clips: int = 5
    pixels: int = 4096 * 2304
    frames: int = 10_000
    seconds: float = 20
    answer_seconds: float = 300
    uploads: int = 64
    files: int = 20
    upload_seconds: float = 20

    @property
    def total_bytes(self) -> int:
        """Of all files that are held at one time, of all visitors: twice what one question can bring."""
        return int(self.total_files * self.megabytes * 2**20)

    @property
    def total_files(self) -> int:
        """That are held at one time."""
        return 2 * (self.classes * self.clips + 1)


def check_file(path: str | os.PathLike[str], limits: Limits) -> None:
    """Refuse, before any decoder sees it, a file that is too large or no video.

    FFmpeg goes by content, not by name, and its text formats (playlists) can name other files and addresses.

    Raises:
        Refused: saying what was expected.
    """
    path = Path(path)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise Refused(
            f"{path.name} is not taken: expected a video ({' '.join(sorted(VIDEO_SUFFIXES))}), found "
            f"{path.suffix or 'no suffix'}."
        )
    if not path.is_file():
        raise Refused(f"{path.name} is no longer held, clips are deleted after a while: drop it once more.")
    size = path.stat().st_size
    if size > limits.megabytes * 2**20:
        raise Refused(
            f"{path.name} is too large: {size / 2**20:.1f} MB, and at most {limits.megabytes:g} MB are taken. Cut it "
            "or make its frames smaller."
        )
    try:
        check_video_file(path)
    except VideoError as error:
        raise Refused(f"{path.name}: {error.cause}.") from error


def collect(
    names: Iterable[str | None], clips: Iterable[list[str] | None], query: str | None, limits: Limits
) -> dict[str, list[str]]:
    """``{class name: files}`` of the rows that were filled in, everything checked by :func:`check_file`.

    Args:
        names: one per row; rows without name and clips are left out.
        clips: files of every row.
        query: the clip to name.
        limits: what is taken.

    Raises:
        Refused: for what is missing, too much, or no video.
    """
    support: dict[str, list[str]] = {}
    for number, (given, files) in enumerate(zip(names, clips, strict=True), 1):
        name = " ".join((given or "").split())
        if not name and not files:
            continue
        if not name:
            raise Refused(f"Class {number} has clips but no name: write what they show.")
        if not files:
            raise Refused(f"Class {number}, {name}, has no clip: drop one to {limits.clips}, or clear its name.")
        if len(files) > limits.clips:
            raise Refused(f"Class {number}, {name}, has {len(files)} clips: at most {limits.clips} are taken.")
        if name in support:
            raise Refused(f"Two classes are called {name}: put their clips together, or rename one.")
        support[name] = list(files)
    if not 2 <= len(support) <= limits.classes:
        raise Refused(
            f"Two to {limits.classes} classes are needed to choose between, each with a name and one to {limits.clips} "
            f"clips; found {len(support) or 'none'}."
        )
    if not query:
        raise Refused("There is no clip to name: drop one into the last box.")
    for file in [*(file for files in support.values() for file in files), query]:
        check_file(file, limits)
    return support


class Held:
    """Which uploaded file stands in which box of which open page; a file that stands in none is deleted.

    Equal files share one place on disk, so that one may stand in several boxes. Sizes are counted as files come, so
    that no question about them walks the disk.

    Args:
        folder: of all uploads.
        unclaimed_seconds: a file that came and was put into no box by then is deleted.
    """

    def __init__(self, folder: Path, unclaimed_seconds: float = 120) -> None:
        self.folder, self.unclaimed_seconds = folder, unclaimed_seconds
        self._boxes: dict[tuple[str, str], set[str]] = {}
        self._files: dict[str, tuple[int, float]] = {}  # size and time of coming
        self._coming: dict[object, int] = {}
        self._lock = Lock()

    def token(self, file: str) -> str:
        """What the browser is told of a file: its place in the folder, not where that is on this machine."""
        return f"{TOKEN}{Path(file).resolve().relative_to(self.folder.resolve()).as_posix()}"

    def paths(self, box: Any) -> list[str]:
        """Paths of the files in a box, from what the browser says: nothing, a file or several.

        Raises:
            Refused: for a file that was not uploaded.
        """
        found = [str(file["path"]) for file in ([box] if isinstance(box, dict) else box or [])]
        for path in found:
            if not Path(path).resolve().is_relative_to(self.folder.resolve()):
                raise Refused(f"{Path(path).name} was not uploaded here.")
        return found

    @contextmanager
    def coming(self) -> Iterator[Callable[[int], None]]:
        """While an upload comes; what it gives is told of its bytes. They stop counting at the end, when the file is
        there (:meth:`arrived`) or was broken off."""
        key = object()
        self._coming[key] = 0

        def count(more: int) -> None:
            self._coming[key] += more

        try:
            yield count
        finally:
            del self._coming[key]

    def arrived(self, files: Iterable[str]) -> None:
        """These files lie in the folder now."""
        with self._lock:
            for file in files:
                self._note(file)

    def put(self, page: str, box: str, files: Iterable[str]) -> None:
        """These files now stand in a box, and those that stood there before do not."""
        with self._lock:
            before = self._boxes.pop((page, box), set())
            self._boxes[page, box] = set(files)
            for file in self._boxes[page, box] - set(self._files):
                self._note(file)
            self._delete(before)

    def forget(self, page: str) -> None:
        """The page was closed."""
        with self._lock:
            gone = [self._boxes.pop(key) for key in list(self._boxes) if key[0] == page]
            self._delete(set().union(*gone))

    def sweep(self) -> None:
        """Deletes files that no box took, and forgets those that are gone from the disk."""
        with self._lock:
            for file in [file for file in self._files if not Path(file).exists()]:
                del self._files[file]
            late = time.monotonic() - self.unclaimed_seconds
            self._delete({file for file, (_, since) in self._files.items() if since < late})

    def discard_parts(self) -> None:
        """Deletes files that lie in the folder itself: those of a form that was not taken up. Whole ones have folders
        of their own."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    Path(entry.path).unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of all files that are held, and of those that are coming."""
        return sum(size for size, _ in self._files.copy().values()) + sum(self._coming.copy().values())

    def count(self) -> tuple[int, int]:
        """How many files are held, and how many uploads are coming."""
        return len(self._files), len(self._coming)

    def _note(self, file: str) -> None:
        with suppress(FileNotFoundError):  # deleted meanwhile
            self._files[file] = Path(file).stat().st_size, time.monotonic()

    def _delete(self, files: set[str]) -> None:
        for file in files - set().union(*self._boxes.values()):
            path = Path(file)
            self._files.pop(file, None)
            path.unlink(missing_ok=True)
            if path.parent != self.folder:
                with suppress(OSError):  # gone already, or a file of the same content is being written there
                    path.parent.rmdir()
