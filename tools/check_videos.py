"""Look for videos that cannot be read, or are short, before training finds them.

    python tools/check_videos.py DATASET                  every clip in DATASET/<class>/<clip>, every frame decoded
    python tools/check_videos.py DATASET --quick          three frames of each
    python tools/check_videos.py a.mp4 b/ --list more.txt

A clip is a video file, or a folder of images. The report is a CSV file with one line per clip, written as the work
goes on, so that Ctrl-C leaves what is known so far. The exit code is 1 when some clip cannot be read, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from episodes.video import ClipCheck, check_videos, limits
from episodes.video.images import SUFFIXES as IMAGES
from fsar.terminal.failure import Options, one_message

VIDEOS = {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
VIDEOS |= {".mxf", ".ogv", ".qt", ".rm", ".ts", ".vob", ".webm", ".wmv"}
COLUMNS = ("path", "frames", "fps", "height", "width", "short", "note", "cause")


def find_clips(paths: Iterable[Path]) -> Iterator[Path]:
    """The clips among and below ``paths``; a path that is no folder is taken for a clip whatever its name."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        entries = sorted(path.iterdir())
        if any(entry.suffix.lower() in IMAGES for entry in entries):
            yield path
        yield from (entry for entry in entries if entry.suffix.lower() in VIDEOS and not entry.is_dir())
        yield from find_clips(entry for entry in entries if entry.is_dir())


def row(check: ClipCheck, frames: int) -> dict[str, object]:
    """One line of the report."""
    info = check.info
    if info is None:
        return {"path": check.path, "cause": check.cause}
    return {"path": check.path, **vars(info), "short": "short" if info.frames < frames else ""}


def report(checks: Iterable[ClipCheck], clips: int, args: argparse.Namespace, console: Console) -> tuple[int, bool]:
    """Write and print the findings; (number of unreadable clips, whether all were looked at)."""
    broken: list[ClipCheck] = []
    done = short = 0
    finished = False
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with args.report.open("w", newline="") as file, Progress(*columns, console=console) as progress:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        task = progress.add_task("checking", total=clips)
        try:
            for check in checks:
                line = row(check, args.frames)
                writer.writerow(line)
                file.flush()
                done += 1
                short += bool(line.get("short"))
                if check.cause:
                    broken.append(check)
                    console.print(f"[red]unreadable[/] {escape(check.path)}: {escape(check.cause)}", soft_wrap=True)
                elif check.info and check.info.note:
                    console.print(f"[yellow]note[/] {escape(check.path)}: {escape(check.info.note)}", soft_wrap=True)
                progress.update(task, advance=1)
            finished = True
        except KeyboardInterrupt:
            console.print("stopped")
    console.print(
        f"{done} of {clips} clips checked: {done - len(broken)} readable, {len(broken)} unreadable, "
        f"{short} shorter than {args.frames} frames. Report: {escape(str(args.report))}",
        soft_wrap=True,
    )
    return len(broken), finished


@one_message(program="check_videos")
def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, check, report; returns the exit code."""
    parser = Options(__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="data set folders, video files, folders of images")
    parser.add_argument("--list", type=Path, help="a text file with one more path per line")
    parser.add_argument("--quick", action="store_true", help="read three frames of each clip instead of all")
    parser.add_argument("--frames", type=int, default=8, help="a clip with fewer frames is called short (8)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at work (one per core)")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit for one clip (60)")
    parser.add_argument("--max-pixels", type=int, help=f"of one frame; more is refused undecoded ({limits.PIXELS:,})")
    parser.add_argument("--report", type=Path, default=Path("videos.csv"), help="where the report goes (videos.csv)")
    args = parser.parse_args(argv)
    if args.max_pixels is not None:
        os.environ[limits.VARIABLE] = str(args.max_pixels)
    paths = list(args.paths)
    if args.list is not None:
        paths += [Path(line) for line in args.list.read_text().splitlines() if line.strip()]
    clips = list(find_clips(paths))
    if not clips:
        parser.error("no clips: name a folder that holds <class>/<clip>, or video files")
    checks = check_videos(clips, args.workers, args.quick, args.seconds)
    broken, finished = report(checks, len(clips), args, Console())
    return 130 if not finished else int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
