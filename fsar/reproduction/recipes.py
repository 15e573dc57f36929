"""From methods and shots to works: which recipe, beside which data, and what is changed of it.

A work is one training with its tests, the least that a process takes. What it runs is two or three shipped
configurations and ``changes.yaml``, laid over them: the data set's place, the shots, another encoder, a short budget.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from fsar.reproduction.facts import SAME_NUMBERS, Facts, facts_of
from fsar.reproduction.short import SHORT, shorten
from fsar.terminal.files.shipped import find_shipped, list_shipped, suggest_shipped
from fsar.terminal.wrong_use import WrongUse

Budget = Literal["published", "short"]
STEMS = {"kinetics100": ("kinetics100", "kinetics")}
"""Names of the recipes of a benchmark, where they are not its own."""


@dataclass(frozen=True)
class Asked:
    """What belongs to all works of a table.

    Args:
        benchmark: name of a published benchmark.
        root: of its videos; None to plan without them.
        lists: folder or CSV.
        allow_missing: run although videos are missing.
        allow_changed: run with lists that are not the published ones.
        budget: of training and evaluation.
        encoder: configuration of another encoder, in the place of each recipe's own.
        weights: files by the name of a network.
        options: ``--data.``, ``--model.`` and ``--trainer.`` options laid over everything.
    """

    benchmark: str
    root: Path | None
    lists: Path
    allow_missing: bool = False
    allow_changed: bool = False
    budget: Budget = "published"
    encoder: str | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """One training and its tests.

    Args:
        name: of its folder.
        method: name of its configuration.
        files: shipped configurations, the later over the earlier.
        shots: to test with.
        changes: laid over the files.
        content: of files and changes together.
        backbone: the network whose features are compared.
        differs: from the published protocol, in words.
        alike: whether the number may be held against the published one: its backbone, its budget, its settings.
    """

    name: str
    method: str
    files: tuple[str, ...]
    shots: tuple[int, ...]
    changes: Mapping[str, Any]
    content: Mapping[str, Any]
    backbone: str
    differs: tuple[str, ...]
    alike: bool

    @property
    def facts(self) -> Facts:
        """What was published of the method."""
        return facts_of(self.method)


def find_works(asked: Asked, methods: Sequence[str], shots: Sequence[int]) -> list[Work]:
    """The works of a table, in the order of the methods.

    Raises:
        ValueError: for a method or recipe that does not exist, naming the nearest, or an encoder that is no file.
    """
    for name in methods:
        refuse_unknown(name)
    return [work for name in methods for work in _works(asked, name, shots)]


def refuse_unknown(method: str) -> None:
    """Raises WrongUse for a method without a configuration."""
    known = sorted({name.split("/")[1] for name in list_shipped() if name.startswith("method/")} - {"tiny"})
    if method not in known:
        near = difflib.get_close_matches(method.lower().replace("-", "_"), known, 1, 0.5)
        hint = f"; did you mean {near[0]} ?" if near else f"; known are {', '.join(known)}."
        raise WrongUse(f"--methods: there is no method {method!r}{hint}")


def _works(asked: Asked, method: str, shots: Sequence[int]) -> Iterator[Work]:
    facts, plain = facts_of(method), SAME_NUMBERS.get(asked.benchmark, asked.benchmark)
    stems = [f"method/{method}/{stem}" for stem in STEMS.get(plain, (plain,))]
    shared = next((stem for stem in stems if find_shipped(stem)), None)
    if shared and facts.trained == "once":
        yield _work(asked, method, shared, tuple(shots), None)
        return
    for count in shots:
        own = f"{stems[0]}_{count}shot"
        if find_shipped(own):
            yield _work(asked, method, own, (count,), None)
            continue
        of_others = sorted(name for name in list_shipped() if name.startswith(f"{stems[0]}_"))
        if of_others:
            raise ValueError(
                f"there is no recipe {own}; there are {', '.join(of_others)}. Choose --shots among them, or leave "
                f"{method} out of this table."
            )
        yield _work(asked, method, shared, (count,), count)


def _work(asked: Asked, method: str, recipe: str | None, tests: tuple[int, ...], trained: int | None) -> Work:
    """One work; ``trained`` shots where the recipe leaves them open."""
    facts, differs = facts_of(method), list[str]()
    files = [_preset(asked.benchmark, facts.data), recipe or f"method/{method}"]
    content = _laid_over(*map(_read, files))
    if "max_steps" not in content.get("trainer", {}) and "max_epochs" not in content.get("trainer", {}):
        files.insert(0, "trainer")
        content = _laid_over(_read("trainer"), content)
    if recipe is None:
        differs.append(f"no recipe of this benchmark: {files[-1]} with the training of {files[0]}")
    changes: dict[str, Any] = {"data": {"benchmark": {"init_args": _source(asked)}}}
    if trained:
        changes["data"] |= {"shots": trained, "test_shots": trained}
    alike = recipe is not None or method == "prototype"
    if encoder := _encoder(asked, content, differs):
        changes["model"] = {"method": {"init_args": {"encoder": encoder}}}
    backbone = str(_innermost(_laid_over(content, changes))["init_args"].get("model", ""))
    if asked.budget == "short":
        changes = _laid_over(changes, shorten(_laid_over(content, changes)))
        differs.append(SHORT)
    if asked.options:
        differs.append(f"options: {' '.join(asked.options)}")
    published_with = facts.number(backbone, asked.benchmark, 1)[1]
    if published_with and published_with != backbone:
        differs.append(f"encoder {backbone}, published with {published_with}")
    if facts.numbers and facts.lists_of(asked.benchmark) != asked.benchmark:
        differs.append(f"published on the lists {facts.lists_of(asked.benchmark)}")
    alike = alike and not asked.options and asked.budget == "published" and published_with == backbone
    alike = alike and facts.lists_of(asked.benchmark) == asked.benchmark
    whole_table = len(tests) > 1 or (trained is None and not str(recipe).endswith("shot"))
    name = method if whole_table else f"{method}_{tests[0]}shot"
    whole = _laid_over(content, changes)
    return Work(name, method, tuple(files), tests, changes, whole, backbone, (*differs, *facts.differs), alike)


def _preset(benchmark: str, kind: str) -> str:
    name = f"data/{SAME_NUMBERS.get(benchmark, benchmark)}{'_published' if kind == 'published' else ''}"
    if not find_shipped(name):
        raise ValueError(f"there is no configuration {name} of this benchmark's data{suggest_shipped(name)}.")
    return name


def _source(asked: Asked) -> dict[str, Any]:
    given: dict[str, Any] = {"name": asked.benchmark, "lists": str(asked.lists)}
    given |= {"root": str(asked.root)} if asked.root else {}
    return given | {key: True for key in ("allow_missing", "allow_changed") if getattr(asked, key)}


def _encoder(asked: Asked, content: Mapping[str, Any], differs: list[str]) -> dict[str, Any] | None:
    """The encoder of a work where it is not the recipe's: another network, other files; trained as the recipe says."""
    encoder = content["model"]["method"]["init_args"]["encoder"]
    inner = _innermost(content)
    options = dict(inner["init_args"])
    if asked.encoder:
        file = find_shipped(asked.encoder) or find_shipped(f"encoder/{asked.encoder}") or Path(asked.encoder)
        if not file.is_file():
            raise WrongUse(f"--encoder {asked.encoder}: no such file or configuration{suggest_shipped(asked.encoder)}")
        other = yaml.safe_load(file.read_text(encoding="utf-8"))
        kept = ("tune", "templates") if other["class_path"] == inner["class_path"] else ("tune",)
        options = {**other.get("init_args", {}), **{key: options[key] for key in kept if key in options}}
        inner = {"class_path": other["class_path"]}
    place = "pretrained" if inner["class_path"].endswith("ClipEncoder") else "weights"
    named = asked.weights.get(str(options.get("model")))
    if named:
        options[place] = named
    if not asked.encoder and not named:
        return None
    changed = {"class_path": inner["class_path"], "init_args": options}
    return _replaced(encoder, changed)


def _replaced(encoder: Mapping[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """An encoder with another one at its inside."""
    below = encoder.get("init_args", {}).get("encoder")
    if not isinstance(below, dict):
        return changed
    return {**encoder, "init_args": {**encoder["init_args"], "encoder": _replaced(below, changed)}}


def _innermost(content: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder that sees the pixels: that of an adapter, or of a network beside it, is inside of it."""
    encoder: dict[str, Any] = content["model"]["method"]["init_args"]["encoder"]
    while isinstance(below := encoder.get("init_args", {}).get("encoder"), dict):
        encoder = below
    return encoder


def _read(name: str) -> dict[str, Any]:
    file = find_shipped(name)
    assert file is not None  # asked before
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def _laid_over(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Configurations over each other as the parser lays them: another class takes nothing of the former one's."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            result[key] = value
            if isinstance(value, Mapping) and isinstance(old, Mapping):
                was = old.get("class_path")
                result[key] = _laid_over(old, value) if value.get("class_path", was) == was else value
    return result


def cells(works: Sequence[Work]) -> list[tuple[Work, int]]:
    """Every number of a table: a work and the shots of a test."""
    return list(itertools.chain.from_iterable([(work, count) for count in work.shots] for work in works))
