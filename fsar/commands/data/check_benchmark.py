"""Is your copy of a data set the benchmark that was published?

    fsar check-benchmark --benchmark kinetics100 --root /data/kinetics400
    fsar check-benchmark --benchmark ssv2_small --root /data/ssv2 --trained-on ssv2_full

Reports per class which videos are found, missing, unreadable and shorter than a clip, which files belong to none, what
the gaps do to the protocol, which recordings two splits share, and what a model trained on another benchmark has seen.
The lists come from fsar splits. Exit status: 0 all there and readable, 1 not so, 2 it could not be checked.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

from rich.progress import Progress

from episodes.benchmarks import SPLITS, Listed, Lists, definition, definitions, overlap, read_lists, shared_sources
from episodes.benchmarks.coverage import ClassCoverage, Coverage, examine, kinds_of
from episodes.benchmarks.further import further_lists
from episodes.benchmarks.leaks import clips_per_source
from episodes.files import write_atomically
from episodes.words import pluralise
from fsar.evaluation.cells import to_cell
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file
from fsar.terminal.shown import shown


@one_message(program="fsar check-benchmark")
def main(args: list[str]) -> int:
    """Checks what ``args`` say; see the exit status above."""
    parser = Options(__doc__, prog="fsar check-benchmark")
    parser.add_argument(
        "--benchmark",
        required=True,
        metavar="NAME",
        help=f"{', '.join(definitions())}, or lists of docs/benchmarks.md, of which nothing is read",
    )
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--lists", type=Path, default=Path("data/lists"), help="what get_splits.py wrote")
    parser.add_argument(
        "--read", choices=["none", "quick", "full"], default="quick", help="frames to read of each video"
    )
    parser.add_argument("--frames", type=int, default=8, help="a video with fewer is called short")
    parser.add_argument("--shots", type=int, default=5, help="labelled clips per class")
    parser.add_argument("--queries", type=int, default=1, help="clips to name per class")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="videos read together")
    parser.add_argument("--trained-on", metavar="NAME", help="benchmark that a model to be tested was trained on")
    parser.add_argument("--csv", type=output_file, help="write one line per video that is missing, unreadable or short")
    parser.add_argument("--allow-changed", action="store_true", help="accept lists that are not the published ones")
    options = parser.parse_args(args)
    try:
        if options.benchmark in further_lists():
            return check_listed(options.benchmark, options.root, options.lists, options.allow_changed)
        lists = read_lists(options.lists, definition(options.benchmark), options.allow_changed)
        trained = options.trained_on and read_lists(options.lists, definition(options.trained_on))
        with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("reading", total=None)
            coverage = examine(
                lists,
                options.root,
                options.read,
                options.frames,
                options.workers,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (ValueError, OSError) as error:
        print(shown(f"fsar check-benchmark: {error}"), file=sys.stderr)
        return 2
    print_coverage(coverage, options.shots, options.queries)
    print_leaks(lists)
    if trained:
        print(shown(str(overlap(trained, lists))))
    if options.csv:
        write_csv(options.csv, coverage)
    return 0 if all(entry.whole for entry in coverage.classes) else 1


def check_listed(name: str, root: Path, lists: Path, allow_changed: bool) -> int:
    """Which videos of further lists are there, and what is wrong with the lists; no video is opened."""
    benchmark = Listed(name, root, lists, allow_missing=True, allow_changed=allow_changed).load()
    whole = True
    for split, count in benchmark.facts["coverage"].items():
        if count["listed"]:
            classes = len(benchmark.split(split).class_names)
            listed = pluralise(count["listed"], "video")
            print(f"{split}: found {count['found']:,} of {listed}, {pluralise(classes, 'class')}")
            whole &= count["found"] == count["listed"]
    print("no class and no video stands in two splits.")
    for note in [*benchmark.facts["list_changes"], *benchmark.facts.get("list_faults", ())]:
        print(shown(f"* {note}"))
    return 0 if whole else 1


def print_coverage(coverage: Coverage, shots: int, queries: int) -> None:
    """Totals, the classes that are not whole, and what follows from it."""
    for change in coverage.lists.changes:
        print(shown(f"lists are not as published: {change}"))
    columns = f"{'listed':>8}{'found':>8}{'missing':>9}{'unreadable':>12}{'short':>7}"
    print(f"{coverage.lists.definition.name:<48}{columns}")
    for split in SPLITS:
        print_line(f"{split} ({pluralise(len(coverage.of(split)), 'class')})", coverage.of(split))
        for entry in coverage.of(split):
            if not entry.whole:
                print_line(f"  {entry.name}", [entry])
    if coverage.extra:
        kinds = kinds_of(coverage.extra)
        print(shown(f"files that belong to no video of the lists: {kinds}; such as {coverage.extra[0]}"))
    for sentence in coverage.consequences(shots, queries):
        print(shown(sentence))


def print_line(title: str, classes: list[ClassCoverage]) -> None:
    """One line of the table."""
    listed, missing = sum(c.listed for c in classes), sum(len(c.missing) for c in classes)
    unreadable, short = sum(len(c.unreadable) for c in classes), sum(len(c.short) for c in classes)
    title = shown(title)
    title = title if len(title) <= 46 else title[:45] + "…"
    print(f"{title:<48}{listed:>8,}{listed - missing:>8,}{missing:>9,}{unreadable:>12,}{short:>7,}")


def print_leaks(lists: Lists) -> None:
    """What the names of the clips tell about their sources."""
    print("no class and no video stands in two splits.")
    for shared in shared_sources(lists):
        one, other = shared.splits
        recordings = f"{len(shared.sources)} recordings ({shared.videos[0]:,} and {shared.videos[1]:,} clips)"
        print(shown(f"{one} and {other} have clips of the same {recordings}, such as '{shared.sources[0]}'."))
    rate = clips_per_source(lists, "test")
    if rate > 1:
        print(f"test: {rate:.1f} clips per recording; support and query may come from the same one.")


def write_csv(path: Path, coverage: Coverage) -> None:
    """One line per video that is not as it should be."""
    with write_atomically(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "class", "video", "state", "detail"])
        for c in coverage.classes:
            found = [(video, "missing", "") for video in c.missing]
            found += [(path, "unreadable", cause) for path, cause in c.unreadable.items()]
            found += [(path, "short", str(frames)) for path, frames in c.short.items()]
            writer.writerows([c.split, *map(to_cell, (c.name, *row))] for row in found)
