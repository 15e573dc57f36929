"""The README.md of a published run, from what the run wrote down: nothing in it is typed by hand."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import yaml

from episodes.words import pluralise
from fsar.evaluation.accuracy import plus_minus
from fsar.evaluation.marks import marks
from fsar.evaluation.said import floor_template
from fsar.sharing.card_text import CARD
from fsar.terminal.shown import shown


@dataclass(frozen=True)
class Packed:
    """What a card is written from.

    Args:
        address: what ``fsar.load`` is given.
        config: of the fit or test, without paths of this machine.
        checkpoint: of Lightning, ``best.ckpt``; without ``global_step`` nothing was trained.
        facts: what the weights file says beside the weights.
        records: the contents of every published ``results.json``.
        hashes: ``{what: sha256}``.
        commit: of the code that published, for a run without results.
        versions: of the packages that published, for a run without results.
        files: ``{option: name}`` of files that are needed and not published.
        foreign: names of classes that are no part of fsar.
        code: where those are found.
        license: Hugging Face's name of a licence.
    """

    address: str
    config: Mapping[str, Any]
    checkpoint: Mapping[str, Any]
    facts: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    hashes: Mapping[str, str]
    commit: str | None
    versions: Mapping[str, str]
    files: Mapping[str, str]
    foreign: Sequence[str]
    code: str
    license: str


def write_card(packed: Packed) -> str:
    """The card, as Markdown with Hugging Face's front matter."""
    method, classes = packed.facts["fsar_method"], packed.facts["trained_classes"]
    metric, benchmark = metric_of(packed.config), benchmark_of(packed.config)
    trained = "global_step" in packed.checkpoint
    named = [method, metric and f"with {metric},", *(["trained on", benchmark] if trained else ["not trained"])]
    versions = packed.records[0]["versions"] if packed.records else packed.versions
    arguments = f', overrides=["--{next(iter(packed.files))}", "FILE"]' if packed.files else ""
    recipe = yaml.safe_dump(without_nothing(packed.config), sort_keys=False, allow_unicode=True)
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"text": as_text, "code": as_code, "yaml": json.dumps}
    return environment.from_string(CARD).render(
        facts=packed.facts,
        license=packed.license,
        address=json.dumps(packed.address, ensure_ascii=False),
        files=packed.files,
        foreign=[as_code(name) for name in packed.foreign],
        code=as_text(packed.code.rstrip(".")),
        arguments=arguments + (", trust_classes=True" if packed.foreign else ""),
        title=" ".join(filter(None, named)),
        trained=trained,
        method=as_text(method),
        metric=as_text(metric),
        benchmark=benchmark,
        classes=classes,
        trained_weights=f"{sum(value.numel() for value in packed.checkpoint['state_dict'].values()):,}",
        frozen=frozen_parts(packed.config["model"]["method"], "model"),
        rows=[row(record) for record in packed.records],
        warnings=warnings(packed.records),
        chosen=how_chosen(packed.checkpoint, packed.config),
        provenance=provenance(packed, versions),
        versions=versions,
        recipe=recipe,
        fence=longer_than_any(recipe, 3),
        frames=packed.config["data"].get("frames", 8),
    )


def as_text(name: Any) -> str:
    """A name within Markdown, which is also HTML: shown as it is, and neither link, emphasis, cell nor element."""
    line = " ".join(html.escape(shown(str(name)), quote=False).split())
    return re.sub(r"[\\`*\[\]|~#$!]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)


def as_code(name: Any) -> str:
    """A name as code within Markdown; a bar would end the cell of a table there as well."""
    line = " ".join(shown(str(name)).split()).replace("|", "\\|")
    fence = longer_than_any(line, 1)
    edge = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{edge}{line}{edge}{fence}"


def longer_than_any(text: str, least: int) -> str:
    """Backticks that do not occur together in a text."""
    return "`" * max([least, *(len(found) + 1 for found in re.findall("`+", text))])


def row(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The line of one result in the table."""
    data = record["data"]
    told = [f"{data['ways']}-way {data['shots']}-shot", "opposites" if data["opposites"] else "", marks(record)]
    floor = plus_minus(record["zero_shot_accuracy"], record["zero_shot_interval_95"]) if has_floor(record) else "–"
    if said := floor_template(record):
        floor += f" ({said})"
    accuracy = plus_minus(record["accuracy"], record["interval_95"])
    what = data["benchmark"], data["split"], ", ".join(filter(None, told)), metric_of(record["config"]) or "–"
    return *what, record["inference"] or "–", f"{record['episodes']:,}", accuracy, floor


def has_floor(record: Mapping[str, Any]) -> bool:
    """Whether class names alone were scored as well."""
    return "zero_shot_accuracy" in record


def warnings(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What makes a number of the table something else than accuracy on new classes."""
    seen = {
        f"{record['data']['benchmark']}, {record['data']['split']}: {len(names)} of its {record['data']['classes']} "
        f"classes were trained on ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); that is not few-shot "
        "accuracy on new classes."
        for record in records
        if (names := record.get("classes_seen_in_training"))
    }
    return sorted(seen)


def how_chosen(checkpoint: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """How the checkpoint was chosen, from what its callback wrote into it."""
    if "global_step" not in checkpoint:
        return "No checkpoint was chosen, for nothing was trained."
    when = f"after optimiser step {checkpoint['global_step']:,}"
    for name, state in checkpoint.get("callbacks", {}).items():
        if name.startswith("BestCheckpoint") and state.get("best_model_score") is not None:
            episodes = config["data"].get("val_episodes", 1000)
            return (
                f"The checkpoint was chosen on validation classes: the one {when} had the highest accuracy there, "
                f"{100 * float(state['best_model_score']):.2f} % over {pluralise(episodes, 'episode')}."
            )
    return f"There were no validation classes: the checkpoint is the last, {when}."


def provenance(packed: Packed, versions: Mapping[str, str]) -> dict[str, str]:
    """Where the weights and numbers come from; a commit that ends in + had changes that were not committed."""
    commits = {record["commit"] for record in packed.records} if packed.records else {packed.commit}
    named = [commit or "not a checkout" for commit in commits]
    return {
        "commit of the " + ("tests" if packed.records else "publication"): ", ".join(
            as_code(name) for name in sorted(named)
        ),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        **{as_text(name): as_code(sha256) for name, sha256 in packed.hashes.items()},
    }


def frozen_parts(spec: Any, key: str) -> list[dict[str, str]]:
    """Every part of a method that starts from weights of others: its option, its model, and which weights."""
    if not isinstance(spec, dict):
        return []
    found: list[dict[str, str]] = []
    arguments = spec.get("init_args", spec)
    source = next((name for name in ("pretrained", "weights") if "model" in arguments and name in arguments), None)
    if source:
        weights = arguments[source]
        what = f"weights {as_code(weights)}" if weights else "random weights, drawn from seed_everything"
        found.append(
            {
                "name": key,
                "model": f"{as_text(spec['class_path'].rsplit('.')[-1])} {as_code(arguments['model'])}",
                "weights": what,
            }
        )
    for name, value in arguments.items():
        found += frozen_parts(value, f"{key}.{name}")
    return found


def metric_of(config: Mapping[str, Any]) -> str:
    """Name of the alignment that a configuration compares frames with; nothing when there is none."""
    alignment = (config["model"]["method"].get("init_args") or {}).get("alignment") or {}
    return str(alignment.get("class_path", "")).rsplit(".", 1)[-1]


def benchmark_of(config: Mapping[str, Any]) -> str:
    """What it was trained on: the source of its clips, with its name, kind or folder."""
    source = config["data"].get("benchmark") or {}
    arguments = source.get("init_args") or {}
    detail = next((arguments[key] for key in ("name", "flavour", "root") if arguments.get(key)), "")
    return f"{source.get('class_path', 'unknown data').rsplit('.', 1)[-1]} {detail}".strip()


def without_nothing(value: Any) -> Any:
    """Plain data without what is None or empty."""
    if isinstance(value, dict):
        items = {key: without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in (None, {}, [])}
    return value
