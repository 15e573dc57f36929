"""Get the published lists of a benchmark: which videos belong to which class and split.

    fsar splits --benchmark ssv2_full          downloads, checks, writes data/lists/ssv2_full.csv
    fsar splits                                all benchmarks
    fsar splits --benchmark ssv2_full --from downloads/   without a network: the published files

The files come from the repositories of the papers, pinned to a commit, and their sha256 is checked. They are written
in one format: benchmark,split,class_id,class,video. The videos themselves are not fetched; see docs/benchmarks.md.
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
from fsar.terminal.failure import Options, one_message
from fsar.terminal.shown import shown

HOST = "https://raw.githubusercontent.com"


@one_message(program="fsar splits")
def main(args: list[str]) -> int:
    """Gets the lists that ``args`` name; 0 when all of them were written."""
    parser = Options(__doc__, prog="fsar splits")
    parser.add_argument("--benchmark", action="append", metavar="NAME", help=f"{', '.join(definitions())}; all of them")
    parser.add_argument("--out", type=Path, default=Path("data/lists"), help="folder of the CSVs (default: data/lists)")
    parser.add_argument(
        "--from", nargs="+", type=Path, dest="source", metavar="PATH", help="published files or folders"
    )
    parser.add_argument("--mirror", default=HOST, help=f"address to fetch from instead of {HOST}")
    parser.add_argument("--allow-changed", action="store_true", help="accept lists that are not the published ones")
    options = parser.parse_args(args)
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
    counts = ", ".join(f"{s} {len(lists.classes[s])} classes {len(lists.videos[s]):,} videos" for s in SPLITS)
    print(shown(f"{path}: {counts}; sha256 {lists.sha256()[:12]}"))
    for change in lists.changes:
        print(shown(f"  not as published: {change}"))
