"""One page about a run, or about several side by side: a single HTML file that needs nothing else.

    fsar report runs/demo                                     # writes runs/demo/report.html
    fsar report runs/demo runs/demo/otam --out compared.html
    fsar report runs/demo --explain --sketch 200              # a closer look at each episode shown; takes longer
    fsar report runs/demo --export paper/              # its figures as PDF and SVG, its tables as LaTeX and CSV

Accuracy with intervals, training curves, ways and shots, classes, confusions, test episodes with their alignment, and
where every number comes from. What a run does not have, its section says, and how to get it. Options of ``fsar``
such as ``--data.benchmark.root FOLDER`` are laid over the configuration when episodes are shown again.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from episodes.files import write_atomically
from episodes.words import pluralise
from fsar.evaluation.accuracy import plus_minus
from fsar.evaluation.calibration import explain
from fsar.evaluation.marks import marks
from fsar.evaluation.provenance import versions
from fsar.evaluation.said import floor_template, names_alone, template
from fsar.reporting.comparison import compare, over_encoders, share_episodes
from fsar.reporting.figures import encoder_dots
from fsar.reporting.insight import Closer
from fsar.reporting.paper.export import export
from fsar.reporting.runs import ReportedRun, metric_name, read_result, read_run, setting
from fsar.reporting.templates import read_templates
from fsar.reporting.view import View, look
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file, output_folder
from fsar.terminal.shown import shown
from fsar.terminal.user_code import find_user_code


def short_names(runs: Sequence[ReportedRun]) -> list[str]:
    """The last part of each folder, and as many parts before it as tell the runs apart."""
    parts = [run.folder.absolute().parts for run in runs]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def spread(folder: Path) -> list[Path]:
    """The runs of a folder that ``fsar sweep --encoders`` wrote, in its order; else the folder itself."""
    dated = [
        (read_result(file).record.get("date") or "", file.parents[2])
        for file in sorted(folder.glob("encoders/*/results/*/results.json"))
    ]
    return list(dict.fromkeys(run for _, run in sorted(dated))) or [folder]


def heading(views: Sequence[View]) -> str:
    """The page's title."""
    if len(views) == 1:
        record = views[0].record
        return views[0].run.title + (f" on {record['data']['benchmark']}" if record else "")
    benchmarks = {view.record["data"]["benchmark"] for view in views if view.record}
    return pluralise(len(views), "run") + (f" on {benchmarks.pop()}" if len(benchmarks) == 1 else "")


def prose(text: str) -> Markup:
    """A sentence for the page; what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def render(views: Sequence[View], command: str) -> str:
    """The page."""
    environment = read_templates()
    environment.filters |= {
        "plus_minus": plus_minus,
        "setting": setting,
        "marks": marks,
        "names_alone": names_alone,
        "template": template,
        "floor_template": floor_template,
        "metric": metric_name,
        "prose": prose,
        "calibration": explain,
        "minus": lambda text: text.replace("-", "−"),
        "finite": lambda x: x if math.isfinite(x) else 0.0,
    }
    blocks, reasons = compare([view.run for view in views]) if len(views) > 1 else ([], [])
    together = [view for view in views if view.shared]
    dates = sorted({result.record["date"][:10] for view in views for result in view.results})
    rows = [(views[number].short, results) for number, results in over_encoders(blocks)]
    return environment.get_template("page.html").render(
        views=views,
        blocks=blocks,
        dots=encoder_dots(rows, "encoders") if rows else "",
        reasons=reasons,
        together=together if len(together) > 1 else [],
        heading=heading(views),
        date=" to ".join(dict.fromkeys(dates[:1] + dates[-1:])),
        command=command,
        version=versions()["fsar"],
    )


@one_message(program="fsar report")
def main(args: list[str]) -> None:
    """Parse, look at the runs, write the page."""
    parser = Options(__doc__, prog="fsar report")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--out", type=output_file, help="the page; report.html in the (first) run by default")
    parser.add_argument("--gallery", type=int, default=8, metavar="N", help="test episodes to show (8); 0 for none")
    parser.add_argument("--explain", action="store_true", help="heat over frames, and what changed clips give")
    parser.add_argument("--sketch", type=int, default=0, metavar="STEPS", help="draw the frame that decides a match")
    parser.add_argument(
        "--export", type=output_folder, metavar="DIR", help="figures and tables for a paper, into this folder"
    )
    own, options = parser.parse_known_args(args)
    if own.sketch < 0:
        parser.error(f"--sketch must be 0 or more steps, found {own.sketch}.")
    if own.gallery < 0:
        parser.error(f"--gallery must be 0 or more, found {own.gallery}.")
    if strange := [word for word in options if word.startswith("-") and not word.startswith(("--data.", "--model."))]:
        parser.error(f"unknown option {strange[0]}; of fsar's options, --data.* and --model.* are understood.")
    if len({path.resolve() for path in own.runs}) < len(own.runs):
        parser.error("a run is named twice.")
    find_user_code()
    runs = [read_run(path) for path in own.runs for path in spread(path)]
    out = own.out or output_file(str(own.runs[0] / "report.html"))
    chosen, asked = share_episodes(runs, own.gallery), Closer(own.explain, own.sketch)
    named = enumerate(zip(runs, short_names(runs), strict=True))
    views = [look(run, f"r{i + 1}", name, own.gallery, options, asked, chosen.get(i)) for i, (run, name) in named]
    page = shown(render(views, shlex.join(["fsar", "report", *map(str, own.runs), *options])))
    with write_atomically(out) as part:
        part.write_text(page, encoding="utf-8")
    print(f"{out} ({len(page.encode()) / 1e6:.1f} MB)")
    if own.export:
        written = export(views, compare(runs)[0] if len(runs) > 1 else [], own.export)
        count = {kind: sum(path.suffix == kind for path in written) for kind in (".pdf", ".tex")}
        print(f"{own.export} ({count['.pdf']} figures as PDF and SVG, {count['.tex']} tables as LaTeX and CSV)")
