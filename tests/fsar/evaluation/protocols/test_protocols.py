"""Protocols on videos of known features, against slow versions of their definitions, and through the command."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from fsar.__main__ import main
from fsar.evaluation.protocols import PROTOCOLS, ground
from fsar.evaluation.protocols.cross_domain import bare_name, name_overlap
from fsar.evaluation.protocols.generalized import draw_clips
from fsar.evaluation.protocols.ground import Ground, Measure, Tasks, summarise_row
from fsar.evaluation.protocols.open_set import largest_logit, largest_probability, margin, measure_oscr

CLASSES, CLIPS = 12, 9


class World:
    """Videos as points around their class; a query's logits are its negative distances to the classes' means."""

    def __init__(self, noise: float, base: int = 4) -> None:
        generator = np.random.default_rng(0)
        self.labels = np.repeat(np.arange(CLASSES), CLIPS)
        centres = generator.normal(size=(CLASSES, 16))
        self.points = centres[self.labels] + noise * generator.normal(size=(len(self.labels), 16))
        self.seen: list[Tasks] = []
        parts = {"train": (0, base), "test": (base, CLASSES - base)}
        self.ground = Ground(self.labels, tuple(f"c{i}" for i in range(CLASSES)), parts, self.score)

    def score(self, tasks: Tasks) -> NDArray[np.float64]:
        self.seen.append(tasks)
        ways = tasks.classes.shape[1]
        member = tasks.support_labels[:, None] == np.arange(ways)[:, None]  # (e n s)
        means = member @ self.points[tasks.support] / member.sum(-1, keepdims=True)
        found: NDArray[np.float64] = -np.square(self.points[tasks.query][:, :, None] - means[:, None]).sum(-1)
        return found


def _run(name: str, world: World, **options: int) -> dict[str, Measure]:
    run = importlib.import_module(f"fsar.evaluation.protocols.{name}").run
    return {row.what: row for row in run(world.ground, **options)}


NEED_A_METHOD = {"transductive"}
"""Which ask a method itself, and are tested with one in tests/fsar/test_refinement.py."""


@pytest.mark.parametrize(
    "name", sorted({each.module for each in PROTOCOLS.values()} - NEED_A_METHOD | {"cross_domain"})
)
def test_classes_that_lie_apart_are_told_apart_and_the_table_is_seeded(name: str) -> None:
    easy, again = (_run(name, World(0.01), ways=3, shots=2, queries=2, episodes=20, seed=1) for _ in range(2))
    assert easy == again
    wrong_by_design = {"difference, paired", "one wrong shot", "the class with the wrong shot, after"}
    said = {what for what in easy if "(probability)" in what or "(margin)" in what}  # they judge by other classes
    rows = [row for what, row in easy.items() if what not in wrong_by_design | said]
    assert all(row.mean == pytest.approx(1.0) for row in rows), rows
    other = _run(name, World(1.5), ways=3, shots=2, queries=2, episodes=20, seed=2)
    assert other != easy


def test_support_and_query_never_share_a_video() -> None:
    for name in {each.module for each in PROTOCOLS.values()} - NEED_A_METHOD - {"wrong_shot"}:
        world = World(1.0)
        _run(name, world, ways=3, shots=2, queries=2, episodes=15)
        for tasks in world.seen:
            for support, query in zip(tasks.support, tasks.query, strict=True):
                assert not set(support) & set(query)
                assert len(set(support)) == len(support)
            shown = np.take_along_axis(tasks.classes, tasks.support_labels, 1)
            assert (world.labels[tasks.support] == shown).all()


def test_curve_of_open_sets_is_that_of_every_threshold() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        known = np.r_[True, False, generator.random(18) < 0.5]
        sure = generator.integers(0, 8, 20).astype(float)
        right = known & (generator.random(20) < 0.7)
        points = [(0.0, 0.0)]
        for x in sorted(set(sure), reverse=True):
            taken = sure >= x
            points.append((float((taken & ~known).sum() / (~known).sum()), float((taken & right).sum() / known.sum())))
        area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
        assert measure_oscr(sure, right, known) == pytest.approx(area)


def test_the_released_curve_of_open_sets_ends_half_way() -> None:
    sure, known = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    assert measure_oscr(sure, known, known) == 1.0
    # (0, 0) (0, 1/2) (0, 1) (1/3, 1) (1/2, 1), then straight to (1, 1)
    assert measure_oscr(sure, known, known, released=True) == 1.0
    wrong = np.array([True, False, False, False])  # one of two is named right: 1/2, and 3/4 from 1/2 to 1
    assert measure_oscr(sure, wrong, known) == 0.5
    assert measure_oscr(sure, wrong, known, released=True) == 0.5 * 0.5 + 0.75 * 0.5


def test_open_set_episodes_and_their_ranks() -> None:
    world = World(1.0)
    rows = _run("open_set", world, ways=3, shots=2, queries=2, episodes=10)
    tasks = world.seen[-1]
    unknown = tasks.query_labels < 0
    assert unknown.sum(1).tolist() == [6] * 10
    for e in range(10):
        assert not set(world.labels[tasks.query[e][unknown[e]]]) & set(tasks.classes[e])
    assert tasks.classes.min() == 4  # those of the test split alone
    assert world.labels[tasks.query].min() == 4
    scores = world.score(tasks)
    sure = largest_logit(scores)
    auroc = [
        np.mean([(a > b) + 0.5 * (a == b) for a in s[~u] for b in s[u]]) for s, u in zip(sure, unknown, strict=True)
    ]
    assert rows["AUROC (logit)"].mean == pytest.approx(np.mean(auroc), abs=1e-6)
    said = largest_probability(scores) > 0.5
    assert rows["OS-ACC (probability)"].mean == pytest.approx((said != unknown).mean())
    right = scores.argmax(-1) == tasks.query_labels
    assert rows["FS-ACC"].mean == pytest.approx(right[~unknown].mean())
    assert largest_probability(np.array([[0.0, 0.0]])) == pytest.approx([0.5])
    assert margin(np.array([[1.0, 4.0, 2.0]])) == pytest.approx([2.0])
    alone = replace(world.ground, parts={"test": (4, 8)}, score=lambda tasks: pytest.fail("videos were encoded"))
    with pytest.raises(ValueError, match="FR-Disc is trained on base classes"):
        importlib.import_module("fsar.evaluation.protocols.open_set").run(alone, ways=3, fr_disc_episodes=4)
    with pytest.raises(ValueError, match="lower --ways to 4"):
        _run("open_set", world, ways=7)
    with pytest.raises(ValueError, match="give --ways 2 or more"):
        _run("open_set", world, ways=1)


def test_one_clip_of_one_class_is_wrong_and_no_other() -> None:
    world = World(1.0)
    _run("wrong_shot", world, ways=3, shots=2, queries=2, episodes=25)
    clean, wrong = world.seen[:2]
    assert ((clean.support != wrong.support).sum(1) == 1).all()
    shown = np.take_along_axis(wrong.classes, wrong.support_labels, 1)
    assert ((world.labels[wrong.support] != shown).sum(1) == 1).all()
    for e in range(25):
        assert world.labels[wrong.support[e]].tolist().count(-1) == 0
        assert set(world.labels[wrong.support[e]]) <= set(wrong.classes[e])
        assert not set(wrong.support[e]) & set(wrong.query[e])


def test_unequal_shots_are_as_many_on_average() -> None:
    world = World(1.0)
    _run("unequal", world, ways=5, shots=2, queries=1, episodes=12)
    equal, uneven = world.seen[:2]
    counts = np.stack([np.bincount(labels, minlength=5) for labels in uneven.support_labels])
    assert sorted(set(map(tuple, np.sort(counts, 1).tolist()))) == [(1, 1, 2, 2, 3)]
    assert len(set(map(tuple, counts.tolist()))) > 3  # whose turn it is changes
    assert (equal.query == uneven.query).all()
    with pytest.raises(ValueError, match="give --shots 2 or more"):
        _run("unequal", world, shots=1)


def test_many_ways_end_with_all_classes_and_steps_over_time_add_classes() -> None:
    assert list(_run("many_way", World(0.1), ways=3, episodes=5)) == ["3-way", "6-way", "12-way"]
    world = World(1.0)
    rows = _run("over_time", world, ways=4, episodes=6)
    assert list(rows) == ["4 classes", "8 classes", "the first 4 among 8", "12 classes", "the first 4 among 12"]
    assert (world.seen[1].classes[:, :4] == world.seen[0].classes).all()
    assert rows["the first 4 among 12"].mean <= rows["4 classes"].mean


def test_base_and_novel_and_their_harmonic_mean() -> None:
    world = World(1.2)
    rows = _run("generalized", world, ways=3, shots=1, queries=2, episodes=30)
    tasks = world.seen[0]
    assert (tasks.classes[:, :4] == np.arange(4)).all()
    assert (tasks.classes[:, 4:] >= 4).all()
    assert np.bincount(tasks.support_labels[0]).tolist() == [7] * 4 + [1] * 3
    right = world.score(tasks).argmax(-1) == tasks.query_labels
    base, novel = right[:, :8].mean(1), right[:, 8:].mean(1)
    assert rows["base (4 classes)"].mean == pytest.approx(base.mean())
    harmonic = 2 * base * novel / np.maximum(base + novel, 1e-12)
    assert rows["harmonic mean"].mean == pytest.approx(harmonic.mean())
    alone = Ground(world.labels, world.ground.class_names, {"train": (0, 0), "test": (0, 12)}, world.score)
    with pytest.raises(ValueError, match="it needs base classes"):
        importlib.import_module("fsar.evaluation.protocols.generalized").run(alone)
    with pytest.raises(ValueError, match="0 base classes"):
        importlib.import_module("fsar.evaluation.protocols.generalized").run(replace(alone, parts={"test": (0, 12)}))


def test_clips_are_drawn_without_repetition_and_more_shots_keep_the_queries() -> None:
    labels, classes = np.repeat(np.arange(4), 8), np.tile(np.arange(4), (6, 1))
    few, queries = draw_clips(labels, classes, np.array([1, 2, 3, 1]), np.full(4, 2), 5)
    many, same = draw_clips(labels, classes, np.array([4, 4, 4, 4]), np.full(4, 2), 5)
    assert (queries == same).all()
    assert few.shape == (6, 7)
    assert all(len(set(row)) == len(row) for row in np.concatenate([many, same], 1))


def test_names_that_mean_the_same_class() -> None:
    assert bare_name("Pulling [it] from left to right") != bare_name("Pulling [it] from right to left")
    assert bare_name("air_drumming") == bare_name("air drumming") == bare_name("AirDrumming")
    found = name_overlap(["Playing guitar", "ride horse"], ["guitar_playing", "Riding Horse", "HorseRace"])
    assert found == [("Playing guitar", "guitar_playing")]
    assert summarise_row("x", [float("nan"), 0.5, 0.7]) == Measure("x", 0.6, pytest.approx(0.196, abs=1e-3), 2)


@pytest.mark.parametrize("name", ["many_way", "open_set", "generalized", "unequal", "wrong_shot", "over_time"])
def test_what_cannot_be_drawn_is_refused_before_a_video_is_encoded(name: str) -> None:
    world = World(0.01)
    world.ground = replace(world.ground, score=lambda tasks: pytest.fail("videos were encoded"))
    with pytest.raises(ValueError, match=r"class"):
        _run(name, world, ways=50)


@pytest.fixture
def files(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    return config


def test_the_command_prints_and_keeps_a_table(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, passes = ground.encode_splits, list[tuple[object, ...]]()
    monkeypatch.setattr(ground, "encode_splits", lambda *args: (passes.append(args), encode(*args))[1])
    main(["protocol", "many-way", "-c", str(files), "--out", "out", "--ways", "2", "--episodes", "3"])
    assert len(passes) == 1  # for 2-way and 3-way
    main(["protocol", "generalized", "-c", str(files), "--out", "out", "--ways", "2", "--episodes", "3"])
    shown = capsys.readouterr().out
    assert "3-way" in shown
    record = json.loads(Path("out/protocols/generalized/results.json").read_text())
    assert [row["what"] for row in record["rows"]][:2] == ["base (3 classes)", "novel (2 classes)"]
    assert record["options"] == {"ways": 2, "shots": 1, "queries": 1, "episodes": 3, "seed": 0}
    assert record["splits"] == ["train", "test"]


def test_targets_of_cross_domain_are_other_data(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load(files.read_text())
    folder = content["data"]["benchmark"]["init_args"]
    clips = {name: sorted(p.name for p in (Path(folder["root"]) / name).iterdir()) for name in ("class_0", "class_7")}
    few = [p.name for p in (Path(folder["root"]) / "class_8").iterdir()][:1]
    other = {**folder, "train": [], "val": [], "test": {**clips, "class_8": few}}
    other["class_names"] = {"class_0": "waving", "class_7": "class 1"}
    benchmark = {"class_path": "episodes.splits.Folder", "init_args": other}
    Path("other.yaml").write_text(yaml.safe_dump({"data": {"benchmark": benchmark}}))
    main(["protocol", "cross-domain", "-c", str(files), "--targets", "other.yaml", "--out", "out", "--episodes", "4"])
    record = json.loads(Path("out/protocols/cross-domain/results.json").read_text())
    assert record["rows"][0]["what"].endswith("(other): 2-way 1-shot")
    shown = capsys.readouterr().out
    (facts,) = record["target_data"].values()
    assert facts["classes_left_out"] == {"class 8": 1}
    told, row = shown.index("left out 1 class of fewer than 2 clips"), shown.index("2-way 1-shot")
    assert told < shown.index("2 ways in place of 5") < row  # before the work
    shared = record["shared_videos"][f"{record['rows'][0]['what'].split(':')[0]}"]
    assert len(shared) == len(list((Path(folder["root"]) / "class_0").iterdir()))  # class_0 is trained on
    assert all(a == b and a.startswith("class_0/") for a, b in shared)
    assert "training videos of the source: 5 test videos (" in shown
    assert "also named among the source's training classes: 1 test class (" in shown  # and not trained on
    assert "trained on by name" not in shown
    few = ["protocol", "cross-domain", "-c", str(files), "--out", "out", "--targets", "other.yaml", "--shots", "9"]
    with pytest.raises(SystemExit, match=r"other\.yaml: 2 classes of 10 clips are needed"):
        main(few)
    with pytest.raises(SystemExit):
        main(["protocol", "cross-domain", "-c", str(files), "--out", "out"])
    with pytest.raises(SystemExit):
        main(["protocol", "many-way", "-c", str(files), "--out", "out", "--ways", "0"])
    with pytest.raises(SystemExit):
        main(["protocol", "many-way", "-c", str(files)])
