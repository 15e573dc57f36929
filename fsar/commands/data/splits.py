"""Get the published lists of a benchmark: which videos belong to which class and split.

    fsar splits --benchmark ssv2_full          downloads, checks, writes data/lists/ssv2_full.csv
    fsar splits                                all benchmarks
    fsar splits --benchmark ssv2_full --from downloads/   without a network: the published files
    fsar splits --random 10 --seed 0 -c my_clips.yaml     your own clips: ten divisions of their classes, as files

The files come from the repositories of the papers, pinned to a commit, and their sha256 is checked. They are written
in one format: benchmark,split,class_id,class,video. The videos themselves are not fetched; see docs/benchmarks.md.

--random N divides the classes of your own clips (options of data as of `fsar test`; episodes.splits.Folder or Table)
N times, with different test classes each time, into <out>/split_<seed>.yaml; clips of one group of a Table (a person, a
place, a recording) never stand in two splits. `fsar test --splits N` tests on them and says an interval over splits.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from episodes.benchmarks import SPLITS, Definition, Lists, definition, definitions, read_lists, write_lists
from episodes.benchmarks.definitions import ListSource
from episodes.files import write_atomically
from episodes.words import pluralise
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.terminal.shown import shown

HOST = "https://raw.githubusercontent.com"


@one_message(program="fsar splits")
def main(args: list[str]) -> int:
    """Gets the lists that ``args`` name; 0 when all of them were written."""
    parser = Options(__doc__, prog="fsar splits")
    parser.add_argument("--benchmark", action="append", metavar="NAME", help=f"{', '.join(definitions())}; all of them")
    parser.add_argument("--out", type=output_folder, default=Path("data/lists"), help="of the CSVs (data/lists)")
    parser.add_argument(
        "--from", nargs="+", type=Path, dest="source", metavar="PATH", help="published files or folders"
    )
    parser.add_argument("--mirror", default=HOST, help=f"address to fetch from instead of {HOST}")
    parser.add_argument("--allow-changed", action="store_true", help="accept lists that are not the published ones")
    parser.add_argument("--random", type=int, metavar="N", help="N divisions of the classes of your own clips")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of --random (0)")
    options, rest = parser.parse_known_args(args)
    if options.random is not None:
        if options.benchmark or options.source:
            parser.error("--random divides your own clips (-c FILE or --data.benchmark ...), no published benchmark.")
        from fsar.commands.data.random_splits import write_random  # which reads options by torch's parts

        write_random(options.random, options.seed, options.out, rest)
        return 0
    if rest:
        parser.error(f"{rest[0]} is no option of published lists; -c and --data.* go with --random N.")
    failed = 0
    for name in options.benchmark or definitions():
        try:
            known = definition(name)
            if options.source:
                lists = read_lists(options.source, known, options.allow_changed)
            else:
                lists = download(known, options.mirror, options.allow_changed)
            write_lists(lists, options.out / f"{name}.csv")
        except (ValueError, OSError) as error:
            print(shown(f"{name}: {error}"), file=sys.stderr)
            failed += 1
            continue
        report(lists, options.out / f"{name}.csv")
    return 1 if failed else 0


def download(known: Definition, mirror: str, allow_changed: bool) -> Lists:
    """The lists of the first source that can be reached.

    Raises:
        ConnectionError: when there is none; the message says what to do without a network.
        ValueError: when what came is not what was published.
    """
    causes = []
    for source in known.sources:
        try:
            with tempfile.TemporaryDirectory() as folder:
                files = [fetch(source, split, mirror, Path(folder), allow_changed) for split in SPLITS]
                return read_lists(files, known, allow_changed)
        except urllib.error.URLError as error:
            causes.append(f"{source.title}: {error.reason}")
    wanted = "\n".join(f"  {known.sources[0].address[split]}" for split in SPLITS)
    raise ConnectionError(
        f"no source could be reached ({'; '.join(causes)}). Without a network, fetch these three files elsewhere:\n"
        f"{wanted}\nand run: fsar splits --benchmark {known.name} --from FOLDER_WITH_THE_THREE_FILES"
    )


def fetch(source: ListSource, split: str, mirror: str, folder: Path, allow_changed: bool) -> Path:
    """Fetches the list of one split.

    Raises:
        ValueError: when its sha256 is another than published.
    """
    address = source.address[split].replace(HOST, mirror.rstrip("/"), 1)
    with urllib.request.urlopen(address, timeout=60) as answer:
        content = answer.read()
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256[split] and not allow_changed:
        raise ValueError(
            f"{address} has sha256 {found}, published {source.sha256[split]}. It was changed; --allow-changed accepts "
            "it and records how the lists differ."
        )
    file = folder / os.path.basename(source.address[split])
    with write_atomically(file) as part:
        part.write_bytes(content)
    return file


def report(lists: Lists, path: Path) -> None:
    """Says what was written."""
    counts = ", ".join(
        f"{s} {pluralise(len(lists.classes[s]), 'class')} {pluralise(len(lists.videos[s]), 'video')}" for s in SPLITS
    )
    print(shown(f"{path}: {counts}; sha256 {lists.sha256()[:12]}"))
    for change in lists.changes:
        print(shown(f"  not as published: {change}"))
