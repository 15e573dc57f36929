"""Everything that the page shows of one run, gathered for the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fsar.evaluation.comparison import Result
from fsar.reporting.cards import Card
from fsar.reporting.classes import Rows, Share, by_class, confused, confusion_shares, read_rows
from fsar.reporting.curves import Curves, read_curves
from fsar.reporting.figures import sweep_curves, training_accuracy, training_loss
from fsar.reporting.gallery import Unavailable, make_gallery
from fsar.reporting.runs import Run, as_configured, changes, metric_name, overrides, size, sweeps

HASHES = ("weights_sha256", "encoder_sha256", "config_sha256")
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
    """

    id: str
    short: str
    run: Run
    curves: Curves | None
    plots: list[str]
    sweeps: list[Sweep]
    classes: list[Classes]
    cards: list[Card]
    remark: str

    @property
    def results(self) -> tuple[Result, ...]:
        """All results, the one to look at first in front."""
        return self.run.results

    @property
    def record(self) -> Mapping[str, Any] | None:
        """Of the first result."""
        return self.results[0].record if self.results else None

    @property
    def metric(self) -> str:
        """Name of the metric of the first result."""
        return metric_name(self.record["config"]) if self.record else ""

    @property
    def featured(self) -> list[Result]:
        """The first result, and those that are in no sweep."""
        return feature(self.results)

    @property
    def commands(self) -> list[str]:
        """What to type to get the run and its featured results again."""
        name, config = self.run.name, self.run.config
        lines = []
        if config is not None and self.curves is not None:
            anew = " --ckpt_path null" if config.get("ckpt_path") else ""  # it was taken up again, and is to start over
            lines.append(f"fsar fit -c {name}/config.yaml --run {name}-again{anew}")
        return lines + [command(result, name, config) for result in self.featured]

    @property
    def saved(self) -> bool:
        """Whether the commands read files that are to be made of the configurations on the page."""
        return self.run.config is None

    @property
    def configs(self) -> list[tuple[str, str]]:
        """Title and text of the configurations: of the fit, and of tests where the run has none."""
        if self.run.config is not None:
            return [("config.yaml", dump(self.run.config))]
        return [(f"{result.folder.name}.yaml", dump(result.record["config"])) for result in self.featured]

    def changes(self, record: Mapping[str, Any]) -> str:
        """What of the model a test had otherwise than the run."""
        return changes(self.run.config, record)

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


def look(run: Run, id: str, short: str, gallery: int, options: Sequence[str]) -> View:
    """Read, draw and ask again whatever there is of a run."""
    curves = read_curves(run.folder)
    plots = []
    if curves and (curves.validation or "train_accuracy" in curves.columns):
        plots.append(training_accuracy(curves, f"{id}-accuracy-curve"))
    if curves and "train_loss" in curves.columns:
        plots.append(training_loss(curves, f"{id}-loss-curve"))
    groups = [Sweep(group, sweep_curves(group, f"{id}-sweep{i}")) for i, group in enumerate(sweeps(run.results))]
    tables: list[Classes] = []
    first_rows = None
    for result in feature(run.results):
        rows = read_rows(result.folder / "episodes.csv.gz")
        first_rows = rows if not tables else first_rows
        record = result.record
        pairs = confused(record, rows)
        tables.append(Classes(record, by_class(record), confusion_shares(record), pairs, rows is not None))
    cards, remark = ask_again(run, first_rows, gallery, options)
    return View(id, short, run, curves, plots, groups, tables, cards, remark)


def feature(results: Sequence[Result]) -> list[Result]:
    """The first result, and those that are in no sweep."""
    swept = {result.folder for group in sweeps(results) for result in group}
    return [result for i, result in enumerate(results) if not i or result.folder not in swept]


def ask_again(run: Run, rows: Rows | None, count: int, options: Sequence[str]) -> tuple[list[Card], str]:
    """The gallery of the first result, or a sentence why there is none."""
    if not run.results:
        return [], f"Episodes are chosen from a test: `fsar test --run {run.name}` makes one."
    if count == 0:
        return [], "No episodes were asked for (--gallery 0)."
    if rows is None:
        return [], f"{run.results[0].folder.as_posix()}/episodes.csv.gz is not there; testing again writes it."
    try:
        return make_gallery(run, run.results[0], rows, count, options)
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
