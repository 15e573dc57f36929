"""Everything that the page shows of one run, gathered for the templates."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from fsar.evaluation.comparing.apart import tell_apart
from fsar.evaluation.comparing.comparison import Result
from fsar.reporting.cards import Card, Chosen, choose
from fsar.reporting.classes import Rows, Share, by_class, confused, confusion_shares, read_rows
from fsar.reporting.curves import Curves, read_curves
from fsar.reporting.figures import sweep_curves, training_accuracy, training_loss
from fsar.reporting.gallery import NOTHING, Unavailable, make_gallery
from fsar.reporting.insight import Closer
from fsar.reporting.robustness import Robustness, read_robustness
from fsar.reporting.runs import ReportedRun, as_configured, changes, metric_name, overrides, setting, size, sweeps

HASHES = ("weights_sha256", "encoder_sha256", "texts_sha256", "config_sha256")
DATA_HASHES = ("benchmark_sha256", "split_sha256", "episodes_sha256")


@dataclass(frozen=True)
class Sweep:
    """Results over ways and shots, and their curves."""

    results: list[Result]
    plots: list[str]

    @property
    def grid(self) -> dict[tuple[int, int], Mapping[str, Any]]:
        """Records by (ways, shots)."""
        return {size(result.record): result.record for result in self.results}

    @property
    def ways(self) -> list[int]:
        """The numbers of ways."""
        return sorted({ways for ways, _ in self.grid})

    @property
    def shots(self) -> list[int]:
        """The numbers of shots."""
        return sorted({shots for _, shots in self.grid})


@dataclass(frozen=True)
class Classes:
    """Accuracy by class, confusion shares and confused pairs of one result."""

    record: Mapping[str, Any]
    shares: list[tuple[str, Share]]
    confusion: list[list[float]]
    pairs: list[tuple[str, str, Share]]
    offered: bool

    @property
    def ends(self) -> int:
        """How many of the easiest and of the hardest classes are named."""
        return max(1, min(3, len(self.shares) // 2))

    @property
    def seen(self) -> dict[str, int]:
        """Number of queries of each class."""
        return {name: sum(row) for name, row in zip(self.record["class_names"], self.record["confusion"], strict=True)}


@dataclass(frozen=True)
class View:
    """One run as the templates read it.

    Args:
        id: prefix of the ids of its sections.
        short: what the run is called on the page.
        run: the run.
        curves: of its training, None without.
        plots: the curves as SVG.
        sweeps: its sweeps.
        classes: of every result outside sweeps, the first one to look at in front.
        cards: of the gallery.
        remark: on the gallery, or why there is none.
        sweep_command: what to type for a sweep.
        shared: the cards are of episodes that other runs of the page show too.
    """

    id: str
    short: str
    run: ReportedRun
    curves: Curves | None
    plots: list[str]
    sweeps: list[Sweep]
    classes: list[Classes]
    cards: list[Card]
    remark: str
    sweep_command: str
    shared: bool = False

    @property
    def results(self) -> tuple[Result, ...]:
        """All results, the one to look at first in front."""
        return self.run.results

    @property
    def record(self) -> Mapping[str, Any] | None:
        """Of the first result."""
        return self.results[0].record if self.results else None

    @cached_property
    def robustness(self) -> Robustness | None:
        """What `fsar robustness` measured of it."""
        return read_robustness(self.run.folder, f"{self.id}-robustness")

    @property
    def metric(self) -> str:
        """Name of the metric of the first result."""
        return metric_name(self.record["config"]) if self.record else ""

    @property
    def featured(self) -> list[Result]:
        """The first result, and those that are in no sweep."""
        return feature(self.results, self.run.config)

    @property
    def commands(self) -> list[str]:
        """What to type to get the run and its featured results again."""
        name, config = self.run.typed, self.run.config
        lines = []
        if config is not None and self.curves is not None:
            anew = " --ckpt_path null" if config.get("ckpt_path") else ""  # it was taken up again, and is to start over
            folders = ["-c", f"{self.run.name}/config.yaml", "--run", f"{self.run.name}-again"]
            lines.append(f"fsar fit {shlex.join(folders)}{anew}")
        return lines + [command(result, name, config) for result in self.featured]

    @property
    def robustness_command(self) -> str:
        """What measures what breaks the run."""
        given = ["-c", f"{self.results[0].folder.name}.yaml"] if self.saved and self.results else []
        return shlex.join(["fsar", "robustness", self.run.name, *given])

    @property
    def saved(self) -> bool:
        """Whether the commands read files that are to be made of the configurations on the page."""
        return self.run.config is None

    @property
    def file_named(self) -> str:
        """Of a command, where the file that it names comes from."""
        return " The file it names is the configuration at the end of this page." if self.saved else ""

    @property
    def configs(self) -> list[tuple[str, str]]:
        """Title and text of the configurations: of the fit, and of tests where the run has none."""
        if self.run.config is not None:
            return [("config.yaml", dump(self.run.config))]
        return [(f"{result.folder.name}.yaml", dump(result.record["config"])) for result in self.featured]

    def changes(self, record: Mapping[str, Any]) -> str:
        """What of the model a test had otherwise than the run."""
        return changes(self.run.config, record)

    def apart(self, results: Sequence[Result]) -> list[str]:
        """What tells each of several tests of one name from the others, with its date; "" for one that is alone."""
        records = [result.record for result in results]
        names = [called(result, self.run.config) for result in results]
        found = []
        for record, name in zip(records, names, strict=True):
            alike = [other for other, known in zip(records, names, strict=True) if known == name]
            words = tell_apart(alike)[[id(other) for other in alike].index(id(record))]
            found.append(f"{str(record.get('date'))[:10]}: {words}" if len(alike) > 1 else "")
        return found

    def hashes(self, record: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Name and sha256 of everything that a result names so."""
        found = [(key, record.get(key)) for key in HASHES] + [(key, record["data"].get(key)) for key in DATA_HASHES]
        return [(key.removesuffix("_sha256"), value) for key, value in found if value]

    def memory(self, record: Mapping[str, Any]) -> str:
        """Peak memory over all phases, "" when it was not measured."""
        peaks: dict[str, int] = {}
        for phase in record["peak_memory_mb"].values():
            peaks = {place: max(peaks.get(place, 0), mb) for place, mb in phase.items()}
        return ", ".join(f"{mb:,} MB of {place} memory" for place, mb in peaks.items())


def look(
    run: ReportedRun,
    id: str,
    short: str,
    gallery: int,
    options: Sequence[str],
    asked: Closer = NOTHING,
    chosen: Sequence[Chosen] | None = None,
) -> View:
    """Read, draw and ask again whatever there is of a run; the ``chosen`` episodes, or its own most telling ones."""
    curves = read_curves(run.folder)
    plots = []
    if curves and (curves.validation or "train_accuracy" in curves.columns):
        plots.append(training_accuracy(curves, f"{id}-accuracy-curve"))
    if curves and "train_loss" in curves.columns:
        plots.append(training_loss(curves, f"{id}-loss-curve"))
    groups = [Sweep(group, sweep_curves(group, f"{id}-sweep{i}")) for i, group in enumerate(sweeps(run.results))]
    tables: list[Classes] = []
    first_rows = None
    for result in feature(run.results, run.config):
        rows = read_rows(result.folder / "episodes.csv.gz")
        first_rows = rows if not tables else first_rows
        record = result.record
        pairs = confused(record, rows)
        tables.append(Classes(record, by_class(record), confusion_shares(record), pairs, rows is not None))
    cards, remark = ask_again(run, first_rows, gallery, options, asked, chosen)
    sweep = sweep_command(run, first_rows)
    return View(id, short, run, curves, plots, groups, tables, cards, remark, sweep, bool(chosen and cards))


def feature(results: Sequence[Result], config: Mapping[str, Any] | None = None) -> list[Result]:
    """The first result, and those that are in no sweep; of tests that were repeated the largest, newest one."""
    swept = {result.folder for group in sweeps(results) for result in group}
    found: dict[tuple[str, ...], Result] = {}
    for i, result in enumerate(results):
        if not i or result.folder not in swept:
            found.setdefault(called(result, config), result)
    return list(found.values())


def called(result: Result, config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What a result is called on the page; equal for a test and its repetition."""
    record = result.record
    return record["method"], record["data"]["benchmark"], setting(record), changes(config, record)


def sweep_command(run: ReportedRun, rows: Rows | None) -> str:
    """A sweep that this run's data has clips and classes for, "" when it would show nothing."""
    if not run.results:
        return ""
    result = run.results[0]
    data = result.record["data"]
    clips: dict[str, set[str]] = {}
    if rows is not None:
        for video, names, truth in zip(rows.video, rows.classes, rows.truth, strict=True):
            clips.setdefault(names[truth], set()).add(video)
    most = min(map(len, clips.values()), default=0) - data["queries"]  # by what the test has seen: at least so many
    shots = sorted({data["shots"], *(k for k in (1, 2, 5) if k <= most)})
    ways = sorted({data["ways"], *(n for n in (2, 5, 10) if n <= data["classes"] and not data["opposites"])})
    if len(ways) * len(shots) < 2:
        return ""
    given = ["--run", run.name] if run.config is not None else ["-c", f"{result.folder.name}.yaml", "--out", run.name]
    split = ["--split", "val"] if data["split"] == "val" else []
    words = ["fsar", "sweep", *given, *split, "--ways", *map(str, ways), "--shots", *map(str, shots)]
    return shlex.join(words)


def ask_again(
    run: ReportedRun,
    rows: Rows | None,
    count: int,
    options: Sequence[str],
    asked: Closer,
    chosen: Sequence[Chosen] | None,
) -> tuple[list[Card], str]:
    """The gallery of the first result, or a sentence why there is none."""
    if not run.results:
        return [], f"Episodes are chosen from a test: `fsar test --run {run.typed}` makes one."
    if count == 0:
        return [], "No episodes were asked for (--gallery 0)."
    if rows is None:
        return [], f"{run.results[0].folder.as_posix()}/episodes.csv.gz is not there; testing again writes it."
    try:
        return make_gallery(run, run.results[0], rows, chosen or choose(rows, count), options, asked)
    except Unavailable as reason:
        return [], str(reason)


def command(result: Result, run: str, config: Mapping[str, Any] | None) -> str:
    """The command line that gives a result again."""
    record, data = result.record, result.record["data"]
    if config is None:
        options = ["-c", f"{result.folder.name}.yaml", "--run", run]  # in this order: the file names a folder as well
    else:
        options = ["--run", run, *overrides(config, record["config"])]
    if as_configured(record):
        return " ".join(["fsar", "test" if data["split"] == "test" else "validate", *options])
    mode = record.get("inference")
    own = ["--ways", str(data["ways"]), "--shots", str(data["shots"]), *(["--inference", mode] if mode else [])]
    own += ["--split", data["split"]] if data["split"] != "test" else []
    return " ".join(["fsar sweep", *options, *own])


def dump(config: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
