"""Look for videos that cannot be read, are short, or are there twice, before training finds them.

    fsar check-videos DATASET                  every clip in DATASET/<class>/<clip>, every frame decoded
    fsar check-videos DATASET --quick          eight frames of each
    fsar check-videos a.mp4 b/ --list more.txt --report videos.csv

A clip is a video file, or a folder of images. For every folder one line says how many clips are in it, or why it would
be refused as a class; what is no clip is left out. Then every clip is read, and compared with all others: the same
content, and the same pictures in another coding, are told by name. A report, when asked for, is a CSV file with one
line per clip, written as the work goes on, so that Ctrl-C leaves what is known so far.

The exit code is 1 when some clip cannot be read, stands in two classes, or lies beside its own frames or another coding
of it under one name; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from episodes.listing import find_equal, have_one_name, joined, survey
from episodes.video import ClipCheck, check_videos, limits
from episodes.video.info import mark_told
from episodes.video.likeness import find_alike
from episodes.words import pluralise
from fsar.evaluation.cells import to_cell
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file
from fsar.terminal.shown import shown

COLUMNS = ("path", "frames", "fps", "height", "width", "short", "note", "cause")


def tame(text: str) -> str:
    """A name or a cause as it may be printed: no markup, and nothing that a terminal obeys."""
    return escape(shown(text))


def find_clips(paths: Iterable[Path], console: Console) -> list[Path]:
    """The clips among and below ``paths``, each once; a path that is no folder is taken for one whatever its name."""
    clips: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            clips[path] = None
            continue
        found = list(survey(path))
        width = max((len(_below(path, one.folder)) for one in found), default=0)
        for one in found:
            console.print(f"{tame(_below(path, one.folder)):{width}}  {tame(one.word)}", soft_wrap=True)
            clips |= dict.fromkeys(one.clips)
    return list(clips)


def _below(root: Path, folder: Path) -> str:
    return str(root if folder == root else folder.relative_to(root))


def row(check: ClipCheck, frames: int) -> dict[str, object]:
    """One line of the report."""
    info = check.info
    if info is None:
        return {"path": to_cell(check.path), "cause": to_cell(check.cause)}
    return {"path": to_cell(check.path), **vars(info), "short": "short" if info.frames < frames else ""}


def read_all(checks: Iterable[ClipCheck], clips: int, args: argparse.Namespace, console: Console) -> list[ClipCheck]:
    """Write and print what is found out; all findings, fewer than ``clips`` after Ctrl-C."""
    done: list[ClipCheck] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        file = (
            stack.enter_context(args.report.open("w", newline="", encoding="utf-8")) if args.report else io.StringIO()
        )
        progress = stack.enter_context(Progress(*columns, console=console))
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        task = progress.add_task("checking", total=clips)
        try:
            for check in checks:
                writer.writerow(row(check, args.frames))
                file.flush()
                done.append(check)
                if check.cause:
                    console.print(f"[red]unreadable[/] {tame(check.path)}: {tame(check.cause)}", soft_wrap=True)
                elif check.info and check.info.note:
                    console.print(f"[yellow]note[/] {tame(check.path)}: {tame(check.info.note)}", soft_wrap=True)
                    mark_told([check.path])
                progress.update(task, advance=1)
        except KeyboardInterrupt:
            console.print("stopped")
    return done


def tell_twins(checks: Sequence[ClipCheck], console: Console) -> tuple[int, int]:
    """Print the clips that are there twice, or more often, a line for each set of them. How many there are beside the
    first of each, and how many of the sets a data set refuses."""
    known = sorted((check for check in checks if check.sketch), key=lambda check: check.path)
    paths = [Path(check.path) for check in known]
    equal = find_equal(paths)
    pairs = set(find_alike(paths, [check.sketch for check in known])) | {(one[0], b) for one in equal for b in one[1:]}
    groups = joined(sorted(pairs))
    refused = 0
    for group in groups:
        clips, same = [paths[clip] for clip in group], group in equal
        place = tell_place([clip.parent for clip in clips])
        one_name = any(have_one_name(a, b) for a, b in combinations(clips, 2))
        refused += one_name or any(len({paths[clip].parent for clip in one}) > 1 for one in equal if one[0] in group)
        words = "have the same content" if same else "show the same"
        names = f"{', '.join(map(str, clips[:-1]))} and {clips[-1]}"
        console.print(f"[yellow]twice[/] {tame(f'{names} {words}, in {place}')}", soft_wrap=True)
    return sum(len(group) - 1 for group in groups), refused


def tell_place(folders: Sequence[Path]) -> str:
    """Where clips lie, by the folders that hold them."""
    apart = list(dict.fromkeys(folders))
    if len(apart) == 1:
        return "one class"
    below = [folder.relative_to(os.path.commonpath(apart)) for folder in apart]
    if all(len(folder.parts) == 1 for folder in below):
        return f"{_several(len(apart))} classes"
    if all(len(folder.parts) == 2 for folder in below):  # <split>/<class>
        splits = list(dict.fromkeys(folder.parts[0] for folder in below))
        return f"{_several(len(splits))} splits, {' and '.join(splits)}"
    named = [str(short if short.parts else folder.name) for short, folder in zip(below, apart, strict=True)]
    return f"{_several(len(apart))} folders, {' and '.join(named)}"


def _several(count: int) -> str:
    return "two" if count == 2 else str(count)


@one_message(program="fsar check-videos")
def main(args: list[str]) -> int:
    """Parse the command line, check, report; returns the exit code."""
    parser = Options(__doc__, prog="fsar check-videos")
    parser.add_argument("paths", nargs="*", type=Path, help="data set folders, video files, folders of images")
    parser.add_argument("--list", type=Path, help="a text file with one more path per line")
    parser.add_argument("--quick", action="store_true", help="read eight frames of each clip instead of all")
    parser.add_argument("--frames", type=int, default=8, help="a clip with fewer frames is called short (8)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at work (one per core)")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit for one clip (60)")
    parser.add_argument("--max-pixels", type=int, help=f"of one frame; more is refused undecoded ({limits.PIXELS:,})")
    parser.add_argument("--report", type=output_file, metavar="FILE", help="write a CSV file with one line per clip")
    own = parser.parse_args(args)
    if own.workers < 1 or not own.seconds > 0:
        parser.error(f"--workers must be 1 or more and --seconds above 0, found {own.workers} and {own.seconds:g}")
    if own.max_pixels is not None:
        os.environ[limits.VARIABLE] = str(own.max_pixels)
    paths = list(own.paths)
    if own.list is not None:
        paths += [Path(line) for line in own.list.read_text().splitlines() if line.strip()]
    console = Console()
    clips = find_clips(paths, console)
    if not clips:
        parser.error("no clips: name a folder that holds <class>/<clip>, or video files")
    checks = read_all(check_videos(clips, own.workers, own.quick, own.seconds, sketch=True), len(clips), own, console)
    twins, refused = tell_twins(checks, console)
    broken = sum(bool(check.cause) for check in checks)
    short = sum(check.info is not None and check.info.frames < own.frames for check in checks)
    console.print(
        f"{len(checks)} of {pluralise(len(clips), 'clip')} checked: {len(checks) - broken} readable, {broken} "
        f"unreadable, {short} shorter than {pluralise(own.frames, 'frame')}, {twins} there twice."
        + (f" Report: {tame(str(own.report))}" if own.report else ""),
        soft_wrap=True,
    )
    return 130 if len(checks) < len(clips) else int(broken + refused > 0)
