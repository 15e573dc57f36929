"""Protocols beyond n ways of k shots, on videos that are encoded once.

    fsar protocol open-set --run runs/demo --ways 5 --shots 1
    fsar protocol cross-domain --run runs/demo --targets a.yaml b.yaml
    fsar protocol many-way -c data/hmdb51 -c method/prototype --out runs/many
    fsar protocol open-set --run runs/demo --fr-disc 1600
    fsar protocol generalized --run runs/demo --lists kinetics100_xian_generalized lists/xian

    open-set      queries of classes that the support does not hold: AUROC, AUPR, OSCR
    generalized   base and novel classes told apart together
    all-way       all classes with 1 to 16 shots, base and novel
    many-way      5 classes, twice as many, ... up to all of the split
    unequal       as many shots on average, unequally shared
    wrong-shot    one support clip is of another class
    over-time     classes come one after the other, nothing is trained again
    transductive  queries refine the scores: against the inductive number and a bound, balanced and unbalanced queries
    cross-domain  the test classes of other data (files of data options), a row each, with the classes they share

Every number stands with its 95 % interval over episodes. The table is kept below --out (the run's folder), in
protocols/NAME/results.json.
"""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from episodes.datamodule import EpisodicDataModule
from episodes.sampler import tell_small
from episodes.splits import Benchmark
from episodes.words import pluralise
from fsar.build import Built, build_with_trainer
from fsar.evaluation.marks import marks, method_marks
from fsar.evaluation.protocols import PROTOCOLS, count_needed
from fsar.evaluation.protocols.cross_domain import name_overlap, shared_videos
from fsar.evaluation.protocols.ground import Ground, Measure, count_usable, lay_ground
from fsar.evaluation.protocols.listed import base_test, of_shots
from fsar.evaluation.protocols.listed import notes as tell_lists
from fsar.evaluation.provenance import commit, versions
from fsar.evaluation.results import write_json
from fsar.inference.background import learned_background
from fsar.objectives import BackgroundText
from fsar.sharing.run import read_checkpoint
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.terminal.shown import shown
from fsar.training.joining import check_queries, check_said

CROSS, OPEN = "cross-domain", "open-set"


@one_message(program="fsar protocol")
def main(args: list[str]) -> None:
    """Parse, encode, score, print and keep."""
    parser = Options(__doc__, prog="fsar protocol")
    parser.add_argument("protocol", choices=[*PROTOCOLS, CROSS])
    parser.add_argument("--ways", type=int, help="classes; known ones, novel ones, or those of a step")
    parser.add_argument("--shots", type=int)
    parser.add_argument("--queries", type=int, help="of each class")
    parser.add_argument("--episodes", type=int)
    parser.add_argument("--seed", type=int, help="of the episodes")
    parser.add_argument(
        "--fr-disc", type=int, default=0, metavar="N", help="open-set: train its discriminator on N base episodes"
    )
    parser.add_argument(
        "--lists",
        nargs=2,
        metavar=("NAME", "FOLDER"),
        help="generalized: Xian's base test clips; all-way: ViFi-CLIP's shots; by name, and where the lists lie",
    )
    parser.add_argument("--targets", nargs="+", default=[], help="cross-domain: files or names of data options")
    parser.add_argument("--out", type=output_folder, help="folder of the results; the run's by default")
    own, rest = parser.parse_known_args(args)
    if bool(own.targets) != (own.protocol == CROSS):
        parser.error("--targets FILE ... goes with cross-domain, and it needs them.")
    counts = {key: getattr(own, key) for key in ("ways", "shots", "queries", "episodes", "seed")}
    given = {key: value for key, value in counts.items() if value is not None}
    if bad := [f"--{key} {value}" for key, value in given.items() if key != "seed" and value < 1]:
        parser.error(f"{', '.join(bad)}: must be at least 1.")
    if own.fr_disc < 0 or (own.fr_disc and own.protocol != OPEN):
        parser.error("--fr-disc N goes with open-set, and N is a number of base episodes, such as 1600.")
    if own.fr_disc:
        given["fr_disc_episodes"] = own.fr_disc
    if own.lists and own.protocol not in ("generalized", "all-way"):
        parser.error("--lists NAME FOLDER goes with generalized and all-way.")
    built = build_with_trainer(rest, "fsar protocol")
    out = own.out or (Path(built.config["run"]) if built.config["run"] else None)
    if out is None:
        parser.error("say where results go with --out FOLDER (or give --run FOLDER).")
    if own.protocol == CROSS:
        rows, about = cross_domain(built, rest, list(dict.fromkeys(own.targets)), given)
    else:
        rows, about = one(built, own.protocol, given, own.lists)
    print_rows(rows)
    target = out / "protocols" / own.protocol / "results.json"
    write_json(target, record(built, own.protocol, rows, about))
    print(f"\nresults: {target}")


def one(
    built: Built, name: str, given: dict[str, int], lists: Sequence[str] | None = None
) -> tuple[list[Measure], dict[str, Any]]:
    """Rows of one protocol on the run's own data, and of lists by name and folder."""
    protocol = PROTOCOLS[name]
    run = importlib.import_module(f"fsar.evaluation.protocols.{protocol.module}").run
    asked = ("train", *protocol.splits) if given.get("fr_disc_episodes") else protocol.splits
    splits = tuple(split for split in asked if split != "train" or built.data.load().train.class_names)
    about = read_lists(built, name, *lists) if lists else {}
    splits = (*(() if name == "all-way" and lists else splits), *about.get("list_parts", ()))
    text = find_background(built) if name == OPEN else None
    ground = prepare(built, built.data, splits, means=text is not None)
    usual = {k: p.default for k, p in inspect.signature(run).parameters.items() if k not in ("ground", "text")}
    options = {**usual, **given}
    check_queries(built.learner.method, options["queries"], "queries")
    beside = {"text": text} if name == OPEN else {}
    notes = []
    if words := marks(method_marks(built.learner.method)):
        notes.append(f"{words}: the queries of an episode were scored together")
    if "train" in splits and built.learner.trained_classes:
        notes.append("the base classes' clips were trained on: their number is not of new clips")
    notes += tell_lists(about) if lists else []
    small = {
        split: (clips, ground.small_classes(split, clips))
        for split, clips in count_needed(name, options["shots"], options["queries"]).items()
    }
    notes += tell(small)
    say(notes)
    left_out = {split: classes for split, (_, classes) in small.items()}
    said = {"options": options, "splits": splits, "notes": notes, "classes_left_out": left_out}
    return run(ground, **options, **beside), {**said, **about}


def tell(small: Mapping[str, tuple[int, dict[str, int]]]) -> list[str]:
    """A line for each split that has classes of too few clips: how many are needed, and those with their clips."""
    return [said for split, (clips, classes) in small.items() if (said := tell_small(split, clips, classes))]


def say(notes: Sequence[str]) -> None:
    """What is to be known of the numbers, before the work for them begins."""
    for note in notes:
        print(shown(f"* {note}"), flush=True)


def read_lists(built: Built, protocol: str, name: str, folder: str) -> dict[str, Any]:
    """Put the parts of published lists beside the splits of the data; what is to be said of them."""
    missing = bool(getattr(built.data.benchmark, "allow_missing", False))
    given: Any = (name, Path(folder), built.data.load(), missing)
    if protocol == "generalized":
        split, facts = base_test(*given)
        parts = {"base_test": split}
    else:
        parts, facts = of_shots(*given)
    built.data.splits.update(parts)
    return {**facts, "list_parts": tuple(parts)}


def find_background(built: Built) -> BackgroundText | None:
    """The background text that the run's weights hold, if it was trained with one."""
    path = built.config.get("ckpt_path")
    return learned_background(built.learner, read_checkpoint(Path(path))["state_dict"]) if path else None


def prepare(built: Built, data: EpisodicDataModule, splits: Sequence[str], means: bool = False) -> Ground:
    """Encode the splits of some data with the run's method."""
    for split in splits:
        check_said(built.learner.method, (data.splits.get(split) or data.load().split(split)).class_names)
    data.ways, data.shots, data.queries = 2, 1, 1  # protocols draw their own
    data.test_ways, data.test_shots, data.test_queries = 2, 1, 1
    data.drop_small_classes = True
    data.trainer = built.trainer
    built.trainer.strategy.connect(
        built.learner
    )  # as a test would; stored features are asked for by the encoder's hash
    built.learner.trainer = built.trainer
    return lay_ground(built.learner.to(built.trainer.strategy.root_device), data, splits, means)


def cross_domain(
    built: Built, rest: Sequence[str], targets: Sequence[str], given: dict[str, int]
) -> tuple[list[Measure], dict[str, Any]]:
    """A row for each target: accuracy on its test classes; and which of them have names like classes that were
    trained on, or of a run without training, that its data would train on.

    Raises:
        ValueError: a target without test classes, or one whose training and test classes are not disjoint.
    """
    run = importlib.import_module("fsar.evaluation.protocols.cross_domain").run
    usual = {k: p.default for k, p in inspect.signature(run).parameters.items() if k != "ground"}
    options = {**usual, **given}
    clips, ways = options["shots"] + options["queries"], options["ways"]
    others = [build_with_trainer([*rest, "-c", target], "fsar protocol").data for target in targets]
    grounds = [prepare(built, other, ("test",)) for other in others]  # what is refused is refused before the work
    found: dict[str, dict[str, Any]] = {}
    for target, other, ground in zip(targets, others, grounds, strict=True):
        try:
            have = count_usable(ground, clips, 2)
        except ValueError as error:
            raise ValueError(f"{target}: {error}") from error
        facts = about_target(built, other.load()) | {"classes_left_out": ground.small_classes("test", clips)}
        said = [*facts["notes"], *tell({"test": (clips, facts["classes_left_out"])})]
        said += [f"{have} ways in place of {ways}: it has no more classes"] if have < ways else []
        label = f"{other.load().name} ({Path(target).stem})"
        label = f"{other.load().name} ({target})" if label in found else label
        found[label] = {**facts, "notes": [f"{label}: {line}" for line in said]}
        say(found[label]["notes"])
    rows = [
        row._replace(what=f"{label}: {row.what}")
        for label, ground in zip(found, grounds, strict=True)
        for row in run(ground, **options)
    ]
    return rows, {
        "options": options,
        "targets": list(targets),
        "overlap": {label: facts.pop("overlap") for label, facts in found.items()},
        "shared_videos": {label: facts.pop("shared_videos") for label, facts in found.items()},
        "notes": [note for facts in found.values() for note in facts.pop("notes")],
        "target_data": found,
    }


def about_target(built: Built, target: Benchmark) -> dict[str, Any]:
    """What a target is, and what of it the source has: classes by name, and videos by content."""
    trained = built.learner.trained_classes
    source = built.data.load().train
    overlap = name_overlap(trained or source.class_names, target.test.class_names)
    same = shared_videos([source.root / p for p in source.paths], [target.test.root / p for p in target.test.paths])
    videos = [(source.paths[a], target.test.paths[b]) for a, b in same]
    notes = []
    if videos:
        new = ", so not new" if trained else ""
        one = " and ".join(videos[0])
        notes.append(f"training videos of the source{new}: {pluralise(len(videos), 'test video')} ({one})")
    if overlap:
        meaning = (
            "trained on by name, so no unseen action" if trained else "also named among the source's training classes"
        )
        pairs = ", ".join(f"{a} / {b}" for a, b in overlap[:3])
        notes.append(f"{meaning}: {pluralise(len(overlap), 'test class')} ({pairs})")
    facts = {"benchmark_sha256": target.fingerprint(), **target.facts}
    return {**facts, "overlap": overlap, "shared_videos": videos, "notes": notes}


def print_rows(rows: Sequence[Measure]) -> None:
    """The table."""
    width = max(len(row.what) for row in rows)
    for row in rows:
        number = f"{100 * row.mean:6.2f} ± {100 * row.interval:.2f} %"
        print(shown(f"{row.what:{width}}  {number}  ({row.episodes:,} {row.unit})"))


def record(built: Built, name: str, rows: Sequence[Measure], about: dict[str, Any]) -> dict[str, Any]:
    """What is kept."""
    benchmark = built.data.load()
    return {
        "protocol": name,
        "method": type(built.learner.method).__name__,
        **method_marks(built.learner.method),
        "rows": [row._asdict() for row in rows],
        **about,
        "benchmark": benchmark.name,
        "benchmark_sha256": benchmark.fingerprint(),
        "benchmark_facts": benchmark.facts,
        "trained_classes": list(built.learner.trained_classes),
        "config": built.config,
        "commit": commit(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
