"""Published lists in the protocols that they were made for: base test clips, lists of shots."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from episodes.benchmarks.further.definitions import Further, Part, further, hash_groups
from episodes.splits import Split
from fsar.__main__ import main
from fsar.evaluation.protocols import all_way, generalized, listed
from fsar.evaluation.protocols.ground import Ground, Tasks


class World:
    """Videos are points on a line, at ten times their class; a class is its support's mean."""

    def __init__(self, parts: dict[str, tuple[int, ...]], clips: dict[str, int], shift: float = 0.0) -> None:
        generator = np.random.default_rng(0)
        labels, points, where, first = [], [], {}, 0
        for part, classes in parts.items():
            own = np.repeat(np.arange(len(classes)), clips[part])
            labels.append(own + first)
            points.append(10.0 * np.array(classes)[own] + generator.normal(size=len(own)))
            where[part], first = (first, len(classes)), first + len(classes)
        self.labels, self.points = np.concatenate(labels), np.concatenate(points)
        self.points[self.labels == 0] += shift
        self.seen: list[Tasks] = []
        self.ground = Ground(self.labels, tuple(map(str, range(first))), where, self.score)

    def score(self, tasks: Tasks) -> np.ndarray:
        self.seen.append(tasks)
        member = tasks.support_labels[:, None] == np.arange(tasks.classes.shape[1])[:, None]
        means = (member * self.points[tasks.support][:, None]).sum(-1) / member.sum(-1)
        found: np.ndarray = -np.abs(self.points[tasks.query][..., None] - means[:, None])
        return found


def test_base_queries_are_those_of_the_list_and_support_is_of_training() -> None:
    world = World(
        {"train": (0, 1, 2), "test": (5, 6, 7), "base_test": (0, 1, 2)}, {"train": 6, "test": 5, "base_test": 4}
    )
    rows = {row.what: row.mean for row in generalized.run(world.ground, ways=2, shots=1, queries=2, episodes=9)}
    (tasks,) = world.seen
    train, test, base_test = (set(world.ground.videos_of(part)) for part in ("train", "test", "base_test"))
    for support, query in zip(tasks.support, tasks.query, strict=True):
        assert set(support[:18]) == train  # all six of each of the three: none is kept out
        assert set(query[:6]) <= base_test
        assert set(support[18:]) | set(query[6:]) <= test
        assert not set(support) & set(query)
    assert rows["base (3 classes)"] == rows["novel (2 classes)"] == 1.0  # so the list's classes stand in their order
    moved = World(
        {"train": (1, 0, 2), "test": (5, 6, 7), "base_test": (0, 1, 2)}, {"train": 6, "test": 5, "base_test": 4}
    )
    rows = {row.what: row.mean for row in generalized.run(moved.ground, ways=2, shots=1, queries=2, episodes=9)}
    assert rows["base (3 classes)"] == pytest.approx(1 / 3)


def test_every_clip_of_the_list_is_named_by_its_shots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "AT_ONCE", 7)
    world = World(
        {"train_2": (0, 1, 2), "train_4": (0, 1, 2), "val1": (0, 1, 2)}, {"train_2": 2, "train_4": 4, "val1": 9}
    )
    few, more = all_way.run(world.ground)
    assert (few.what, few.mean, few.episodes, few.unit) == ("train_2: 2-shot, 3 classes, val1", 1.0, 27, "clips")
    assert more.what.startswith("train_4: 4-shot")
    world.points[world.ground.videos_of("val1")[:9]] += 10  # all of the first class look like the second
    few, _ = all_way.run(world.ground)
    assert few.mean == pytest.approx(18 / 27)
    novel = World(
        {"base_s1": (0, 1), "base_val": (0, 1), "novel_val": (5, 6, 7)}, {"base_s1": 16, "base_val": 3, "novel_val": 20}
    )
    assert [row.what for row in all_way.run(novel.ground, episodes=3)] == [
        "base_s1: 16-shot, 2 classes, base_val",
        "novel_val: 16 drawn shots, 3 classes",
    ]


@pytest.mark.parametrize("name", ["kinetics100", "ssv2", "ucf101"])
def test_classes_of_the_released_lists_are_those_of_training(name: str, shared: Path) -> None:
    own = {"ssv2": "ssv2_full", "ucf101": "ucf101_xian"}.get(name, name)
    train = json.loads((shared / "splits" / f"{own}.json").read_text())["train"]
    classes = json.loads((shared / "splits" / "more" / f"{name}_xian_generalized.json").read_text())["base_test"]
    found = listed.in_order(classes, tuple(train), name)
    assert list(found) == list(train)
    assert all(
        listed.strip_marks(a) == listed.strip_marks(b)
        for a, b in zip(found, sorted(classes, key=list(train).index), strict=True)
    )
    with pytest.raises(ValueError, match=r"is of 64 classes, and the training split of the data has 63; '.*' is not"):
        listed.in_order(classes, tuple(train)[1:], name)


def test_numbered_classes_are_taken_by_number() -> None:
    assert listed.in_order({"1": ["b"], "0": ["a"]}, ("x", "y"), "w") == {"x": ["a"], "y": ["b"]}


def test_clips_of_recordings_that_training_has_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = further("kinetics100_xian_generalized_unseen")
    classes = {"a": ["aaaaaaaaaaa", "bbbbbbbbbbb"], "b": ["ccccccccccc"]}
    part = Part(2, 3, hash_groups(classes.values()))
    monkeypatch.setattr(listed, "further", lambda name: Further(**{**vars(known), "parts": {"base_test": part}}))
    (tmp_path / "lists.json").write_text(json.dumps({"base_test": classes}))
    for name in ["aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc", "aaaaaaaaaaa_000010_000020"]:
        (tmp_path / f"{name}.mp4").touch()
    (tmp_path / "aaaaaaaaaaa.mp4").unlink()
    train = Split("train", ("a", "b"), ("aaaaaaaaaaa_000010_000020.mp4", "x.mp4"), (0, 1), tmp_path)
    split, facts = listed.base_test("any", tmp_path / "lists.json", SimpleNamespace(train=train), False)  # type: ignore[arg-type]
    assert split.paths == ("bbbbbbbbbbb.mp4", "ccccccccccc.mp4")
    assert facts["left_out"] == 1
    assert any("280 of the 2,288 base test ids" in note for note in listed.notes(facts))


def test_the_command_reads_lists_by_name(
    config: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    run = yaml.safe_load(config.read_text())
    folder = run["data"]["benchmark"]["init_args"]
    lists: dict[str, list[str]] = {}
    for c in folder["train"] + folder["test"]:
        for i, clip in enumerate(sorted((clips / c).iterdir())):
            name = f"{c}_{i}"
            Path("data", c).mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, Path("data", c, f"{name}{clip.suffix}"))
            if c in folder["train"] and i < 2:
                lists.setdefault(c, []).append(name)
    folder |= {"root": "data", "train": {c: [f"{c}_2.mp4", f"{c}_3.mp4"] for c in folder["train"]}, "val": []}
    Path("run.yaml").write_text(yaml.safe_dump(run))
    part = Part(3, 6, hash_groups(lists.values()))
    known = further("kinetics100_xian_generalized")
    made = Further(**{**vars(known), "dataset": "any", "parts": {"base_test": part, "train_2": part, "val1": part}})
    monkeypatch.setattr(listed, "further", lambda name: made)
    Path("lists.json").write_text(json.dumps(dict.fromkeys(("base_test", "train_2", "val1"), lists)))
    few = ["-c", "run.yaml", "--out", "out", "--ways", "2", "--episodes", "3", "--lists", "made_up", "lists.json"]
    main(["protocol", "generalized", *few])
    main(["protocol", "all-way", *few])
    assert "280 of the 2,288 base test ids" in capsys.readouterr().out
    record = json.loads(Path("out/protocols/generalized/results.json").read_text())
    assert record["splits"] == ["train", "test", "base_test"]
    assert record["coverage"] == {"base_test": {"listed": 6, "found": 6}}
    assert record["list_sha256"]["base_test"] == part.sha256
    record = json.loads(Path("out/protocols/all-way/results.json").read_text())
    assert [row["what"] for row in record["rows"]] == ["train_2: 2-shot, 3 classes, val1"]
    assert record["list_parts"] == ["train_2", "val1"]


def test_lists_of_another_protocol_are_refused(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    with pytest.raises(SystemExit, match="has no base test clips; generalized reads kinetics100_xian_generalized"):
        main(["protocol", "generalized", "-c", str(config), "--out", "o", "--lists", "ucf101_vifi_k_shot", "."])
    with pytest.raises(SystemExit, match="has no lists of shots; all-way reads hmdb51_vifi_k_shot"):
        main(["protocol", "all-way", "-c", str(config), "--out", "o", "--lists", "ucf101_xian_generalized", "."])
    with pytest.raises(SystemExit, match=r"there is no ucf101_vifi_k_shot\.json"):
        main(["protocol", "all-way", "-c", str(config), "--out", "o", "--lists", "ucf101_vifi_k_shot", "."])
    with pytest.raises(SystemExit):
        main(["protocol", "many-way", "-c", str(config), "--out", "o", "--lists", "ucf101_vifi_k_shot", "."])
    assert "goes with generalized and all-way" in capsys.readouterr().err
