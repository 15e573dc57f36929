"""Turn a data set into what trains fast. What it is worth depends on the files, so measure first:

    fsar prepare-videos --root /data/ssv2 --measure
    fsar prepare-videos --root /data/ssv2 --out /data/ssv2_256 --form h264
    fsar prepare-videos --root /data/ssv2 --out /data/ssv2.pack --form pack --benchmark ssv2_full

h264   all-intra .mp4, short side 256: any frame by itself, every frame kept
jpeg   a folder of images per video: faster to read, many files; their frames per second are lost
pack   some frames of each video, uncompressed, in one memory-mapped file: by far the fastest, and the largest

The layout stays that of --root, so --out takes its place in every configuration; a pack is one file, which the
published benchmarks read and ``episodes.splits.Folder`` does not. An interrupted run goes on where it stopped when it
is started again, and makes anew what was made of a video that was replaced since; one that is started while another
writes to the same --out waits for it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from episodes.benchmarks import SPLITS, definition, definitions, read_lists
from episodes.benchmarks.disk import find_videos, walk
from episodes.prepare.convert import Settings, prepare
from episodes.prepare.measure import PACKED_FRAMES, measure
from episodes.words import pluralise
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.terminal.shown import shown


@one_message(program="fsar prepare-videos")
def main(args: list[str]) -> int:
    """Prepares or measures what ``args`` say; 0 when every video could be read."""
    parser = Options(__doc__, prog="fsar prepare-videos")
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--out", type=output_folder, help="where results go; ends in .pack for --form pack")
    parser.add_argument("--form", choices=["h264", "jpeg", "pack"], help="what is made of each video, see above")
    parser.add_argument("--benchmark", metavar="NAME", help=f"only its videos: {', '.join(definitions())}")
    parser.add_argument("--lists", type=Path, default=Path("data/lists"), help="what get_splits.py wrote")
    parser.add_argument("--allow-changed", action="store_true", help="accept lists that are not the published ones")
    parser.add_argument("--short-side", type=int, default=256, help="pixels; smaller videos keep their size")
    parser.add_argument("--frames", type=int, help=f"kept of each video; all, in a pack {PACKED_FRAMES}")
    parser.add_argument("--crf", type=int, default=20, help="of h264; lower is better and larger")
    parser.add_argument("--quality", type=int, default=92, help="of jpeg, 1 to 95")
    parser.add_argument("--fps", type=float, default=0.0, help="of folders of frames, which do not tell it")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--measure", type=int, nargs="?", const=20, metavar="N", help="measure all forms on N videos")
    parser.add_argument("--verify", action="store_true", help="read a pack back; make anew the clips that are damaged")
    options = parser.parse_args(args)
    if options.verify and options.form != "pack":
        parser.error("--verify reads a pack back: give --form pack")
    if options.measure is None and not (options.out and options.form):
        parser.error("give --out and --form, or --measure to see what they cost")
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, found {options.workers}")
    try:
        videos = chosen(options)
        if options.measure is not None:
            return print_costs(options, videos)
        frames = options.frames or (PACKED_FRAMES if options.form == "pack" else 0)
        return run(options, videos, settings(options, frames))
    except (ValueError, OSError, RuntimeError) as error:
        print(shown(f"fsar prepare-videos: {error}"), file=sys.stderr)
        return 2


def settings(options: argparse.Namespace, frames: int) -> Settings:
    """The settings that the options say."""
    return Settings(options.form or "h264", options.short_side, frames, options.crf, options.quality, options.fps)


def chosen(options: argparse.Namespace) -> list[str]:
    """Paths of the videos, relative to the root.

    Raises:
        FileNotFoundError: when there are none.
    """
    if options.benchmark:
        lists = read_lists(options.lists, definition(options.benchmark), options.allow_changed)
        wanted = [video for split in SPLITS for _, video in lists.videos[split]]
        videos = sorted(find_videos(options.root, wanted, lists.definition.dataset).paths.values())
        print(f"{len(videos):,} of the {len(wanted):,} videos of {options.benchmark} are there")
    else:
        videos = sorted(walk(options.root)) if options.root.is_dir() else []
    if not videos:
        raise FileNotFoundError(f"there are no videos and no folders of frames under {options.root}.")
    return videos


def run(options: argparse.Namespace, videos: list[str], wanted: Settings) -> int:
    """Prepares the videos, with a progress bar."""
    notes, tried = list[str](), list[int]()
    columns = "[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(wanted.form, total=len(videos))

        def progress(done: int, total: int) -> None:
            tried.append(done)
            bar.update(task, completed=done)

        failed = prepare(
            options.root,
            options.out,
            videos,
            wanted,
            options.workers,
            progress,
            options.verify,
            notes,
        )
    for note in notes:
        print(shown(note), file=sys.stderr)
    there, made = len(videos) - len(failed), len(tried) - len(failed)
    print(
        f"{there:,} of {pluralise(len(videos), 'video')} are in {shown(str(options.out))}: {made:,} made now, "
        f"{there - made:,} there before"
    )
    for video, cause in sorted(failed.items()):
        print(shown(f"  left out: {video}: {cause}"), file=sys.stderr)
    return 1 if failed else 0


def print_costs(options: argparse.Namespace, videos: list[str]) -> int:
    """Measures all forms on a sample spread over the data set, and prints the table."""
    sample = videos[:: max(1, len(videos) // options.measure)][: options.measure]
    print(
        f"{len(sample)} of {pluralise(len(videos), 'video')}; reading: 8 frames of a clip, one process, files in memory"
    )
    print(f"{'form':<18}{'clips/s':>10}{'kB/clip':>10}{'GB in all':>11}{'s to prepare a clip':>21}{'h in all':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for cost in measure(options.root, sample, Path(folder), settings(options, options.frames or 0)):
            hours = cost.seconds_per_clip * len(videos) / 3600 / max(options.workers, 1)
            print(
                f"{cost.form:<18}{cost.clips_per_second:>10,.1f}{cost.bytes_per_clip / 1e3:>10,.0f}"
                f"{cost.bytes_per_clip * len(videos) / 1e9:>11,.1f}{cost.seconds_per_clip:>21.2f}{hours:>10.1f}"
            )
    return 0
