"""A run as a report needs it: its configuration, its results, what each of them is called."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from fsar.evaluation.comparing.comparison import Result, find
from fsar.evaluation.marks import marks
from fsar.sharing.run import was_only_tested
from fsar.terminal.files.aliases import rename_classes

SIGNS = ("config.yaml", "results/*/results.json", "csv/version_*/metrics.csv")
INCIDENTAL = ("run", "ckpt_path", "verbose", "weights_only", "config")
"""Keys of a configuration that do not change a number."""


@dataclass(frozen=True)
class ReportedRun:
    """A folder that ``fsar fit --run`` or ``fsar test --run`` wrote.

    Args:
        folder: as it was given.
        config: of the fit, None for a method that was only tested.
        results: all of ``results/*``, the one to look at first in front.
    """

    folder: Path
    config: dict[str, Any] | None
    results: tuple[Result, ...]

    @property
    def only_tested(self) -> bool:
        """Whether nothing was ever trained in the folder."""
        return was_only_tested(self.folder)

    @cached_property
    def merged(self) -> dict[str, int]:
        """Pairs of classes that an objective took for one, and in how many steps; see AssignmentRule."""
        file = self.folder / "objectives.json"
        told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return {pair: count for found in told.values() for pair, count in found.items()}

    @property
    def name(self) -> str:
        """The folder, as it was given."""
        return self.folder.as_posix()

    @property
    def typed(self) -> str:
        """The folder as it is typed in a shell."""
        return shlex.quote(self.name)

    @cached_property
    def title(self) -> str:
        """The method and its metric, as far as they are known."""
        config = self.results[0].record["config"] if self.results else self.config or {}
        method = dig(config, "model.method.class_path") or (self.results[0].record["method"] if self.results else "")
        metric = metric_name(config)
        return (str(method).rsplit(".", 1)[-1] or self.folder.name) + (f" with {metric}" if metric else "")


def read_run(path: Path) -> ReportedRun:
    """Read a run folder.

    Raises:
        FileNotFoundError: when there is no such folder, or nothing of a run in it.
        ValueError: when a file of it cannot be understood.
    """
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"{path} {found}; expected the folder that `fsar fit --run` or `fsar test --run` wrote."
        )
    if not any(any(path.glob(sign)) for sign in SIGNS):
        runs = sorted({file.parent.as_posix() for file in path.glob("*/config.yaml")})
        hint = (
            f" These are runs: {', '.join(runs[:3])}." if runs else " `fsar fit --run` or `fsar test --run` makes one."
        )
        raise FileNotFoundError(f"{path} is no run: it holds none of {', '.join(SIGNS)}.{hint}")
    file = path / "config.yaml"
    try:
        config = rename_classes(yaml.safe_load(file.read_text())) if file.is_file() else None
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no YAML: {' '.join(str(error).split())}.") from None
    results = [read_result(file) for file in sorted(path.glob("results/*/results.json"))]
    newest = sorted(results, key=lambda result: str(result.record.get("date")), reverse=True)
    return ReportedRun(path, config, tuple(sorted(newest, key=lambda result: prominence(result.record, config))))


def read_result(file: Path) -> Result:
    """One result.

    Raises:
        ValueError: when the file is broken, or not what ``fsar test`` writes.
    """
    (result,) = find([file])
    record = result.record
    missing = {"config", "confusion", "class_names", "weights_sha256", "versions", "seconds"} - set(record)
    missing |= {
        f"data.{key}" for key in ("ways", "shots", "split_sha256", "episodes_sha256") if key not in record["data"]
    }
    if missing:
        raise ValueError(f"{file} lacks {', '.join(sorted(missing))}: this is not what `fsar test` writes. Test again.")
    return result


def prominence(record: Mapping[str, Any], config: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """Sorts results: the test of the run as it was configured first, then by mode, ways and shots."""
    data, mode = record["data"], record.get("inference") or ""
    altered = bool(changes(config, record))
    usual = data["split"] == "test", not altered, not data["opposites"], as_configured(record)
    return *(not fact for fact in usual), -record["episodes"], mode, *size(record)


def as_configured(record: Mapping[str, Any]) -> bool:
    """Whether ``fsar test`` gives this result; otherwise a tool set ways, shots or the mode of inference."""
    asked = dig(record["config"], "data") or {}
    usual = asked.get("ways"), asked.get("test_shots") or asked.get("shots")
    return size(record) == usual and record.get("inference") in (
        None,
        dig(record["config"], "model.method.init_args.inference"),
    )


def size(record: Mapping[str, Any]) -> tuple[int, int]:
    """Ways and shots."""
    return record["data"]["ways"], record["data"]["shots"]


def setting(record: Mapping[str, Any]) -> str:
    """What was asked, in words: ``5-way 1-shot, combined``."""
    ways, shots = size(record)
    words = [f"{ways}-way {shots}-shot"]
    words += ["pairs of reversed actions"] if record["data"]["opposites"] else []
    words += ["inference " + record["inference"].replace("_", "-")] if record.get("inference") else []
    words += [marks(record)] if marks(record) else []
    words += ["validation classes"] if record["data"]["split"] == "val" else []
    return ", ".join(words)


def sweeps(results: Sequence[Result]) -> list[list[Result]]:
    """Groups of results that differ in ways and shots alone, of three or more, each ordered by ways and shots."""
    groups: dict[str, dict[tuple[int, int], Result]] = {}
    for result in results:
        record, data = result.record, result.record["data"]
        facts = [data[key] for key in ("benchmark", "split", "opposites", "queries", "seed", "episodes")]
        key = json.dumps([*facts, record["method"], record.get("inference"), record["config"].get("model")])
        groups.setdefault(key, {}).setdefault(size(record), result)
    return [[group[key] for key in sorted(group)] for group in groups.values() if len(group) >= 3]


def overrides(base: Mapping[str, Any], config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The options that turn one configuration into another, as on the command line."""
    found: list[str] = []
    for key in sorted({*base, *config} - (set() if prefix else set(INCIDENTAL))):
        old: Any = base.get(key)
        new: Any = config.get(key)
        if old == new:
            continue
        both = isinstance(old, dict) and isinstance(new, dict)
        if both and old.get("class_path") == new.get("class_path"):
            found += overrides(old, new, prefix if key == "init_args" else f"{prefix}{key}.")
        else:
            found += [f"--{prefix}{key}", shlex.quote(new if isinstance(new, str) else json.dumps(new))]
    return found


def changes(config: Mapping[str, Any] | None, record: Mapping[str, Any]) -> str:
    """What of the model a test had otherwise than the run, in words: ``alignment FrameMean``."""
    own = record["config"]
    flags = overrides((config or own)["model"], own["model"], "model.")
    words = []
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        part = re.search(r'"class_path": "([^"]+)"', value)
        words.append(f"{flag.rsplit('.', 1)[-1]} {part[1].rsplit('.', 1)[-1] if part else value}")
    return ", ".join(words)


def metric_name(config: Mapping[str, Any]) -> str:
    """The metric's class of a configuration, without its module; empty when it names none."""
    found = dig(config, "model.method.init_args.alignment")
    found = found.get("class_path") if isinstance(found, dict) else found
    return str(found).rsplit(".", 1)[-1] if found else ""


def dig(tree: Any, path: str) -> Any:
    """The value at ``a.b.c``, None when there is none."""
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
