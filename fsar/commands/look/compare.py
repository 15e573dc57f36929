"""Results side by side, and how sure a difference is.

    fsar compare runs/a runs/b ... [--csv table.csv] [--mixed]

Every run folder stands for all results in it; a folder of one result, or its ``results.json``, stands for itself.
Results on the same episodes (the same hash) are also compared episode by episode with the first of them: the interval
of the paired difference is far narrower than that of either accuracy, since easy and hard episodes cancel. Results on
different episodes are not paired, and it is said why; nor are, without ``--mixed``, those of a method that sees the
other queries of an episode, or their labels, and of one that does not. The column of the method says which it is, the
last one what of encoder, alignment, features, texts, checkpoint and every other option differs between the rows.
"""

from __future__ import annotations

import csv
from pathlib import Path

from episodes.files import write_atomically
from fsar.evaluation.accuracy import show_half
from fsar.evaluation.cells import to_cell
from fsar.evaluation.comparing.apart import tell_apart
from fsar.evaluation.comparing.comparison import Result, differences, find
from fsar.evaluation.marks import marked_name
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file
from fsar.terminal.shown import shown

HEADER = (
    "run",
    "method",
    "inference",
    "benchmark",
    "split",
    "n",
    "k",
    "episodes",
    "accuracy",
    "± 95 %",
    "what differs",
)


def row(result: Result, differs: str) -> tuple[str, ...]:
    """The result's line under :data:`HEADER`."""
    record, data = result.record, result.record["data"]
    what = (result.name, marked_name(record), record["inference"] or "", data["benchmark"], data["split"])
    numbers = (f"{100 * record['accuracy']:.2f}", show_half(record["interval_95"]).strip("?"))
    return (*what, str(data["ways"]), str(data["shots"]), f"{record['episodes']}", *numbers, differs)


@one_message(program="fsar compare")
def main(args: list[str]) -> None:
    """Print the table and the differences."""
    parser = Options(__doc__, prog="fsar compare")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--csv", type=output_file, help="write the table there as well")
    parser.add_argument(
        "--mixed", action="store_true", help="pair a transductive result with one that is not all the same"
    )
    own = parser.parse_args(args)
    results = find(own.runs)
    apart = tell_apart([result.record for result in results])
    rows = [row(result, differs) for result, differs in zip(results, apart, strict=True)]
    for line in (HEADER, ["---"] * len(HEADER), *rows):
        print(shown(f"| {' | '.join(line)} |"))
    print()
    for text in differences(results, own.mixed):
        print(shown(f"* {text}"))
    if own.csv:
        with write_atomically(own.csv) as part, part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *([to_cell(cell) for cell in line] for line in rows)])
