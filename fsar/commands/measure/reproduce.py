"""A table of a benchmark again: ours with its interval, the published number, the difference, and what differs.

    fsar reproduce --benchmark hmdb51 --root DIR --methods clip_fsar otam trx --shots 1 5 --plan
    fsar reproduce --benchmark hmdb51 --root DIR --methods clip_fsar otam trx --shots 1 5 -o table

Checks lists and files, trains what must be trained with the recipe of each method, tests, and writes table.md, .csv,
.json and .tex. Started again it goes on where it was, wherever that is; what is done is not done again, what failed is
tried again. Any number of processes may work on one folder, as of a SLURM array: each takes what no other is at.
--plan says what it will cost, measured on this machine in a minute, and stops; it needs no weights, and without --root
no videos. --data.*, --model.* and --trainer.* are laid over every recipe, and the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fsar.reproduction.checks import check_works
from fsar.reproduction.plan import make_plan
from fsar.reproduction.recipes import Asked, Work, find_works
from fsar.reproduction.running import Cells, run_process
from fsar.reproduction.short import SHORT
from fsar.reproduction.table import as_markdown, write_table
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.terminal.shown import shown

HANDED_ON = ("--data.", "--model.", "--trainer.")


@one_message(program="fsar reproduce")
def main(args: list[str]) -> int:
    """Plan, or run and write the table; exit status 0 when all is there, 1 when something failed."""
    parser = make_parser()
    own, rest = parser.parse_known_args(args)
    for word in rest:
        if word.startswith("-") and not word.startswith(HANDED_ON):
            parser.error(f"there is no option {word}")
    if own.root is None and not own.plan:
        parser.error("--root is needed: the folder of the videos (only --plan does without)")
    if min(own.shots) < 1 or len(set(own.shots)) < len(own.shots) or len(set(own.methods)) < len(own.methods):
        parser.error("--shots and --methods: each once, shots of 1 or more")
    weights = dict(word.partition("=")[::2] for word in own.weights)
    if bad := [word for word in own.weights if "=" not in word]:
        parser.error(f"--weights {bad[0]}: expected NETWORK=FILE, such as resnet50=resnet50.pt")
    asked = Asked(
        own.benchmark,
        own.root,
        own.lists,
        own.allow_missing,
        own.allow_changed,
        own.budget,
        own.encoder,
        weights,
        tuple(rest),
    )
    works = find_works(asked, own.methods, own.shots)
    if own.plan:
        print(shown(str(make_plan(asked, check_works(asked, works, weights=False), own.out, own.views, own.seconds))))
        return 0
    return reproduce(asked, works, own.out, own.views)


def make_parser() -> Options:
    """Its options."""
    parser = Options(__doc__, prog="fsar reproduce")
    parser.add_argument("--benchmark", required=True, metavar="NAME", help="such as hmdb51; `fsar splits` knows all")
    parser.add_argument("--root", type=Path, help="folder of the videos")
    parser.add_argument("--lists", type=Path, default=Path("data/lists"), help="what `fsar splits` wrote, or a CSV")
    parser.add_argument(
        "--allow-missing", action="store_true", help="run although videos are missing; the table says it"
    )
    parser.add_argument("--allow-changed", action="store_true", help="run with other lists; the table says it")
    parser.add_argument("--methods", required=True, nargs="+", metavar="METHOD", help="names of method/ configurations")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--budget", choices=("published", "short"), default="published", help=f"short: {SHORT[14:]}")
    parser.add_argument("--encoder", metavar="NAME|FILE", help="another network in every recipe, trained as it says")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NETWORK=FILE", help="files of weights by network")
    parser.add_argument(
        "--views", type=int, default=0, help="where the encoder is frozen, train on so many stored views of each video"
    )
    parser.add_argument("--plan", action="store_true", help="say time, memory and disk, and stop")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the measurement for --plan")
    parser.add_argument("-o", "--out", type=output_folder, default=Path("table"), help="of the table and its runs")
    return parser


def reproduce(asked: Asked, works: Sequence[Work], out: Path, views: int = 0) -> int:
    """Check all, do what is left, write the table; gives the exit status."""
    checked: list[Work] = []
    trained: dict[str, bool] = {}
    stored: dict[str, str] = {}
    for found in check_works(asked, works):
        work = found.work
        if views and found.trained and found.stored:
            stored[work.name] = f"--views {views}"
            work = replace(work, alike=False, differs=(f"trained on {views} stored views of each video", *work.differs))
        elif found.stored and not found.trained:
            stored[work.name] = "--splits test"
        trained[work.name] = bool(found.trained)
        checked.append(work)
    table = Cells(out, asked, run_process, say)
    table.refuse_others(checked)
    out.mkdir(parents=True, exist_ok=True)
    busy = table.work_off(checked, trained, stored, lambda: write_table(table, checked))
    rows = write_table(table, checked)
    say(f"\n{as_markdown(rows)}\n{out / 'table.md'}, .csv, .json, .tex")
    if busy:
        say(f"others are at {', '.join(busy)}; who ends last writes the whole table.")
    return 1 if any(row.state == "failed" for row in rows) else 0


def say(line: str) -> None:
    """A line, at once."""
    print(shown(line), flush=True)
