"""Test episodes shown again: the method as it was tested is asked for its alignments, the clips for their frames."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from episodes.datamodule import EpisodicDataModule
from episodes.sampler import EpisodeSampler
from fsar.encoders.weights.state import hash_tensors
from fsar.evaluation.calibration import Calibration
from fsar.evaluation.comparing.comparison import Result
from fsar.inference.explain import follow_steps
from fsar.inference.predictor import Predictor, configure
from fsar.reporting.cards import Card, Chosen, Match
from fsar.reporting.classes import Rows
from fsar.reporting.insight import Closer, look_closer
from fsar.reporting.runs import ReportedRun
from fsar.sharing.run import read_checkpoint

SECTIONS = ("seed_everything", "model", "data")
THUMBNAIL = 96  # pixels
SHOTS_SHOWN = 3
NOTHING = Closer()


class Unavailable(Exception):
    """The gallery cannot be made; the message says why, and how to get it."""


def open_result(run: ReportedRun, result: Result, options: Sequence[str]) -> Predictor:
    """The method exactly as it was tested.

    Args:
        run: whose checkpoint the result names.
        result: holds the configuration.
        options: as on the command line, laid over it.

    Raises:
        Unavailable: when the configuration or the checkpoint cannot be read or do not fit.
    """
    record = result.record
    config = {key: record["config"][key] for key in SECTIONS if record["config"].get(key) is not None}
    try:
        predictor = configure(["--config", json.dumps(config), *options])
    except (ValueError, OSError, ImportError) as error:
        again = f"If this version of fsar reads other options, test again: `fsar test --run {run.typed}`."
        raise Unavailable(f"The method cannot be built again: {error} {again}") from error
    if record.get("checkpoint"):
        load_checkpoint(predictor, run, Path(record["checkpoint"]))
    if record.get("temperature") is not None:
        predictor.calibration = Calibration(record["temperature"], record["temperature_from"])
    if record.get("inference"):
        predictor.learner.method.inference = record["inference"]
    return predictor


def load_checkpoint(predictor: Predictor, run: ReportedRun, named: Path) -> None:
    """Load the checkpoint that a result names, from where it was or from the run's folder."""
    file = next((path for path in (named, run.folder / "checkpoints" / named.name) if path.is_file()), None)
    if file is None:
        raise Unavailable(f"The checkpoint {named} is not there any more. Put it back, or test again.")
    try:
        predictor.take_weights(read_checkpoint(file))
    except ValueError as error:
        raise Unavailable(f"The checkpoint {file} does not serve: {error}") from error


def draw_again(data: EpisodicDataModule, record: dict[str, Any], moved: str) -> EpisodeSampler:
    """The sampler of the test's episodes; the split then stands in ``data.splits``.

    Args:
        data: as it was configured.
        record: of the result.
        moved: what to do when videos have moved.

    Raises:
        Unavailable: when the videos are not there, or the episodes are not the same any more.
    """
    facts = record["data"]
    root = getattr(data.benchmark, "root", getattr(data.benchmark, "folder", None))
    if root is not None and not Path(root).is_dir():
        raise Unavailable(f"The videos are not in {root}. {moved}")
    try:
        split = data.load().split(facts["split"]).without(facts["videos_left_out"])
    except (ValueError, OSError) as error:
        raise Unavailable(f"The benchmark cannot be read: {error} {moved}") from error
    if split.fingerprint() != facts["split_sha256"]:
        raise Unavailable(
            f"The list of {facts['split']} videos is not the one that was tested on: clips were added, removed or "
            f"renamed (sha256 {split.fingerprint()[:12]}, expected {facts['split_sha256'][:12]}). Test again."
        )
    data.splits[facts["split"]] = split
    data.test_ways, data.test_shots, data.test_queries = facts["ways"], facts["shots"], facts["queries"]
    data.opposites, data.test_seed = facts["opposites"], facts["seed"]
    sampler = data.episode_sampler(facts["split"])
    if sampler.fingerprint(facts["episodes"]) != facts["episodes_sha256"]:
        raise Unavailable("The episodes cannot be drawn again: this version of the sampler draws others. Test again.")
    return sampler


def jpegs(clip: np.ndarray) -> list[str]:
    """The middle squares of frames ``(t h w c)`` as small JPEG data URIs."""
    found = []
    for frame in clip:
        side = min(frame.shape[:2])
        top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
        image = Image.fromarray(frame[top : top + side, left : left + side])
        out = io.BytesIO()
        image.resize((min(side, THUMBNAIL),) * 2, Image.Resampling.LANCZOS).save(out, "JPEG", quality=82)
        found.append("data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode())
    return found


def make_card(
    predictor: Predictor, sampler: EpisodeSampler, rows: Rows, chosen: Chosen, split: str, asked: Closer = NOTHING
) -> Card:
    """Ask the method again about one query of one episode."""
    number = int(rows.episode[chosen.row])
    draw = sampler.episodes([number])
    place = predictor.data.splits[split].path
    names = [sampler.class_names[c] for c in draw.classes[0]]
    clips = draw.support[0].reshape(len(names), -1)
    support = {name: [str(place(video)) for video in some] for name, some in zip(names, clips.tolist(), strict=True)}
    within = chosen.row - int(np.searchsorted(rows.episode, number))
    query = str(place(int(draw.query[0, within])))
    (answer,) = predictor.predict(support, [query])
    truth = names[rows.truth[chosen.row]]
    guess, second = answer.ranking[0][0], answer.ranking[1][0]
    shown = (
        {guess: "true class, chosen", second: "runner-up"} if guess == truth else {guess: "chosen", truth: "true class"}
    )
    matches, seen = [], predictor.frames(query)
    pixels = torch.from_numpy(seen).movedim(-1, -3)
    for name, role in shown.items():
        found = answer.alignments.get(name)
        shots = [jpegs(predictor.frames(clip)) for clip in support[name][:SHOTS_SHOWN]]
        cost, path = (found.cost.tolist(), found.path.tolist()) if found else (None, None)
        lines, sure, share = (found.paths, found.concentration, found.share) if found else ({}, None, 1)
        steps = follow_steps(predictor.learner, pixels, name)
        matches.append(Match(name, role, shots, cost, path, lines, sure, steps, share))
    metric = next(iter(answer.alignments.values())).metric if answer.alignments else ""
    frames = jpegs(seen)
    more = look_closer(predictor, support, query, answer, asked)
    heat = [(what, jpegs(painted)) for what, painted in more.heat] if more else []
    return Card(chosen.kind, number, truth, rows.video[chosen.row], answer, frames, matches, metric, more, heat)


def make_gallery(
    run: ReportedRun,
    result: Result,
    rows: Rows,
    chosen: Sequence[Chosen],
    options: Sequence[str],
    asked: Closer = NOTHING,
) -> tuple[list[Card], str]:
    """The cards of the chosen queries, and a remark ("" when there is nothing to say).

    Raises:
        Unavailable: with the reason and the way out.
    """
    record = result.record
    predictor = open_result(run, result, options)
    moved = f"If the videos have moved, `fsar report {run.typed} --data.benchmark.root FOLDER` finds them."
    sampler = draw_again(predictor.data, record, moved)
    try:
        cards = [make_card(predictor, sampler, rows, one, record["data"]["split"], asked) for one in chosen]
    except (ValueError, OSError) as error:
        raise Unavailable(f"A clip cannot be read: {error} {moved}") from error
    same = hash_tensors(predictor.learner.method.state_dict()) == record["weights_sha256"]
    told = [rows.classes[one.row, rows.guess[one.row]] for one in chosen]
    differ = sum(card.ranking[0][0] != name for card, name in zip(cards, told, strict=True))
    remark = ""
    if not same or differ:
        why = "its precision or device differs" if same else "the weights are not those that were tested"
        remark = f"{differ} of these {len(cards)} answers differ from the recorded ones: {why}."
    return cards, remark
