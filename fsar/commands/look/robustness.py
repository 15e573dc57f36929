"""What breaks a run: accuracy on the same episodes while clips lose frames, run backwards, blur, are attacked.

    fsar robustness runs/demo
    fsar robustness runs/demo --shifts reverse noise --episodes 2000
    fsar robustness runs/demo --shifts mine.flicker --severities 0.2 0.5      # a function of your own
    fsar robustness runs/demo --baselines runs/otam runs/mean --targets data/hmdb51

Every number stands beside the clean one, paired episode by episode, with 95 % intervals. Each video is encoded once for
each shift and severity. What is measured is kept at once in RUN/robustness, and going on takes it up; fsar report shows
it. Shifts and their severities, from mild to harsh:

{shifts}

Effective robustness is accuracy above a line through --baselines, which were measured before; --targets are files of
data options whose test classes are asked as well. Options of fsar test such as --data.test_episodes may follow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from episodes.features import made_from
from episodes.words import pluralise
from fsar.build import Built, build_with_trainer
from fsar.commands.measure.protocol import cross_domain
from fsar.encoders.weights.state import hash_tensors
from fsar.evaluation.marks import marks, record_marks
from fsar.evaluation.protocols.ground import Measure
from fsar.evaluation.provenance import commit, versions
from fsar.evaluation.results import write_json
from fsar.evaluation.shifts import kept
from fsar.evaluation.shifts.suite import Row, Suite, as_row
from fsar.evaluation.shifts.table import SHIFTS, Shift, find_shift
from fsar.terminal.bars import counting
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.terminal.shown import shown
from fsar.terminal.user_code import find_user_code


def list_shifts() -> str:
    """A line for each shift."""
    return "\n".join(
        f"    {name:9} {', '.join(f'{each:g}' for each in shift.severities):14} {shift.unit}"
        for name, shift in SHIFTS.items()
    )


@one_message(program="fsar robustness")
def main(args: list[str]) -> None:
    """Parse, measure, print and keep."""
    parser = Options((__doc__ or "").format(shifts=list_shifts()), prog="fsar robustness")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--shifts", nargs="+", default=list(SHIFTS), metavar="NAME", help="of those above; all")
    parser.add_argument("--severities", nargs="+", type=float, metavar="X", help="in place of a shift's own")
    parser.add_argument("--on", choices=("query", "both"), default="query", help="whose clips are changed (query)")
    parser.add_argument("--episodes", type=int, help="how many; those of the run's test by default")
    parser.add_argument("--baselines", nargs="+", type=Path, default=[], metavar="RUN", help="measured before")
    parser.add_argument("--targets", nargs="+", default=[], metavar="FILE", help="other data, by files of data options")
    parser.add_argument("--out", type=output_folder, help="folder of the results; the run's by default")
    own, rest = parser.parse_known_args(args)
    if own.severities and len(own.shifts) != 1:
        parser.error("--severities X ... go with one shift: name it with --shifts.")
    if own.episodes is not None and own.episodes < 2:
        parser.error(f"--episodes must be 2 or more, found {own.episodes}.")
    find_user_code()
    shifts = {name: find_shift(name, own.severities) for name in own.shifts}
    known = {str(run): kept.read_rows(run) for run in own.baselines}
    few = [] if own.episodes is None else [f"--data.test_episodes={own.episodes}"]
    built = build_with_trainer(["--run", str(own.run), *few, *rest], "fsar robustness")
    folder = (own.out or own.run) / kept.FOLDER
    rows, facts = measure(built, shifts, own.on, folder)
    check_baselines(known, facts["key"])
    lines = rho(rows, {name: each for name, (_, each) in known.items()})
    mark = f"; {marks(facts)}, {facts['scored']}" if marks(facts) else ""
    print(f"{pluralise(rows[0].episodes, 'episode')}, the same for every number above{mark}")
    print_effective(lines, len(known))
    more: dict[str, Any] = {}
    if known:
        before = facts.get("effective", {}) if facts.get("baselines") == list(known) else {}
        more = {"effective": before | lines, "baselines": list(known)}
    if own.targets:
        others, about = cross_domain(built, ["-c", str(own.run / "config.yaml"), *rest], own.targets, {})
        print_others(others, about)
        more |= {"cross_domain": [row._asdict() for row in others], "notes": about["notes"]}
    if more:
        write_json(folder / kept.TABLE, facts | more)
    print(f"\nresults: {folder / kept.TABLE}")


def measure(built: Built, shifts: Mapping[str, Shift], on: Any, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Rows of every shift, those of before among them, and what is written with them."""
    learner, data, trainer, _ = built
    data.trainer = trainer
    trainer.strategy.connect(learner)  # as a test would; stored features are asked for by the encoder's hash
    learner.trainer = trainer
    learner.to(trainer.strategy.root_device)
    data.features = None if shifts else data.features  # pixels are changed, and a store holds none
    suite = Suite(learner, data, on)
    facts = describe(built, on)
    before, others = kept.read_kept(folder, facts["key"])
    facts |= others
    mine = [name for name in shifts if name not in SHIFTS]  # a function of a user's own may have changed
    right = {name: each for name, each in before.items() if kept.split_name(name)[0] not in mine}
    wanted = [(kept.CLEAN, 0.0), *((name, float(x)) for name, shift in shifts.items() for x in shift.severities)]
    console = Console(stderr=True)
    if again := sum(kept.name_row(*each) in right for each in wanted):
        console.print(f"{again} of {len(wanted)} were measured before ({folder})", highlight=False, soft_wrap=True)
    rows = []
    print(f"{'':16} accuracy, %     from clean, paired", flush=True)
    for name, severity in wanted:
        row = kept.name_row(name, severity)
        if row not in right:
            passes = 1 + (name != kept.CLEAN and on == "query" and suite.bank is None)  # the support first
            with counting(f"{row}: encoding", passes * len(suite.videos)) as suite.tell:
                right[row] = suite.clean() if name == kept.CLEAN else suite.measure(name, shifts[name], severity)
            kept.write_kept(folder, right, facts | {"rows": kept.as_dicts(right)})
        rows.append(as_row(name, severity, right[row], right[kept.CLEAN]))
        print(shown(describe_row(rows[-1])), flush=True)
    facts["rows"] = kept.as_dicts(right)
    kept.write_kept(folder, right, facts)
    return rows, facts


def describe(built: Built, on: str) -> dict[str, Any]:
    """What is written beside the rows; ``key`` holds what they depend on."""
    learner, data = built.learner, built.data
    facts = data.record("test")
    key = {
        "weights_sha256": hash_tensors(learner.method.state_dict()),
        "method": type(learner.method).__name__,
        "method_config": json.loads(json.dumps(built.config["model"]["method"], default=str)),
        "split_sha256": facts["split_sha256"],
        "episodes_sha256": facts["episodes_sha256"],
        "on": on,
        **made_from(data.clips(data.splits["test"])),
    }
    if refine := built.config["model"].get("refine"):
        key["refine"] = json.loads(json.dumps(refine, default=str))
    return {
        "key": key,
        **record_marks(learner.method, facts),
        "data": facts,
        "units": {name: shift.unit for name, shift in SHIFTS.items()},
        "config": built.config,
        "commit": commit(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def check_baselines(known: Mapping[str, tuple[dict[str, Any], list[Row]]], key: Mapping[str, Any]) -> None:
    """Refuse baselines on other episodes, or whose other clips were changed.

    Raises:
        ValueError: naming the first.
    """
    for name, (record, _) in known.items():
        if differ := [fact for fact in ("split_sha256", "episodes_sha256", "on") if record["key"][fact] != key[fact]]:
            raise ValueError(
                f"baseline {name} was measured on other episodes ({', '.join(differ)} differ): give both the same data "
                "options, --episodes and --on."
            )


def rho(rows: Sequence[Row], baselines: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    """Effective robustness by row; nothing without baselines."""
    if not baselines:
        return {}
    clean = rows[0].accuracy
    return {
        kept.name_row(row.shift, row.severity): row.accuracy
        - kept.line_of(baselines, row.shift, row.severity).expect(clean)
        for row in rows[1:]
    }


def describe_row(row: Row) -> str:
    """A row in a line."""
    name = kept.name_row(row.shift, row.severity)
    own = f"{100 * row.accuracy:6.2f} ± {100 * row.interval_95:.2f}"
    return f"{name:16} {own}" + (
        "" if row.shift == kept.CLEAN else f"   {100 * row.difference:+7.2f} ± {100 * row.difference_interval_95:.2f}"
    )


def print_effective(lines: Mapping[str, float], count: int) -> None:
    """Effective robustness by row; nothing without baselines."""
    if lines:
        print(f"\neffective robustness, points above the line of {count} baselines:")
    for name, points in lines.items():
        print(shown(f"{name:16} {100 * points:+6.2f}"))


def print_others(rows: Sequence[Measure], about: Mapping[str, Any]) -> None:
    """Cross-benchmark accuracies, which are on other episodes and not paired."""
    for row in rows:
        print(
            shown(f"{row.what}: {100 * row.mean:.2f} ± {100 * row.interval:.2f} ({pluralise(row.episodes, 'episode')})")
        )
    for note in about.get("notes", []):
        print(shown(f"* {note}"))
