"""Class splits of one's own clips: drawn, written, tested on all with every clip encoded once."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import yaml

from episodes.splits import Folder, Table
from episodes.splits.drawing import classes_of, draw_splits
from fsar.__main__ import main
from fsar.build import build_data
from fsar.evaluation.comparing.over_splits import quantile_t, summarise_splits

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about our tiny loaders
SHARES = (0.4, 0.2, 0.4)


def run(line: str) -> None:
    """One command."""
    main(shlex.split(line))


@pytest.fixture
def place(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration of an untrained method on nine classes, divided by a seed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    monkeypatch.delenv("FSAR_RUN", raising=False)
    content: dict[str, Any] = yaml.safe_load(config.read_text())
    root = content["data"]["benchmark"]["init_args"]["root"]
    content["data"]["benchmark"]["init_args"] = {"root": root, "seed": 0, "fractions": list(SHARES)}
    content["data"] |= {"ways": 3, "test_episodes": 20, "test_queries": 2}
    Path("run.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_every_split_is_what_its_seed_gives_and_videos_are_encoded_once(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("test --splits 3 --run all -c run.yaml --model.method Prototype --model.alignment FrameMean")
    shown = capsys.readouterr().out
    record = json.loads(Path("all/splits/test_3way_1shot/results.json").read_text())
    rows = record["splits"]
    assert len({tuple(row["classes"]["test"]) for row in rows}) == 3
    seed = rows[1]["seed"]
    line = (
        f"test --run one -c run.yaml --model.method Prototype --model.alignment FrameMean --data.benchmark.seed {seed}"
    )
    run(line)
    alone = json.loads(Path("one/results/test_3way_1shot/results.json").read_text())
    assert rows[1]["accuracy"] == alone["accuracy"]
    assert rows[1]["interval_95"] == pytest.approx(alone["interval_95"], abs=1e-9)
    assert rows[1]["episodes_sha256"] == alone["data"]["episodes_sha256"]
    assert rows[1]["classes"]["test"] == [name.replace(" ", "_") for name in alone["class_names"]]
    assert record["accuracy"] == pytest.approx(np.mean([row["accuracy"] for row in rows]))
    assert "over 3 class splits" in shown
    assert "± of a split is over its episodes; that of the mean is over splits" in shown
    assert "no groups are known" in shown
    assert "over its episodes" in record["intervals"]["interval_95"]


def test_files_of_splits_are_configurations(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("splits --random 4 --seed 7 --out drawn -c run.yaml")
    assert len(list(Path("drawn").glob("split_*.yaml"))) == 4
    assert "seed 7" in capsys.readouterr().out
    drawn = build_data(["-c", "run.yaml", "-c", "drawn/split_7.yaml"]).load()
    seeded = build_data(["-c", "run.yaml", "--data.benchmark.seed", "7"]).load()
    assert drawn.fingerprint() == seeded.fingerprint()


def test_groups_never_cross(tmp_path: Path) -> None:
    rows = ["file,label,group"]
    for c in range(10):
        for v in range(2):
            (tmp_path / f"{c}_{v}.mp4").write_bytes(b"x")
            rows.append(f"{c}_{v}.mp4,class {c},person {c // 2}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    classes = classes_of(Table(tmp_path / "t.csv", seed=0))
    assert classes.grouped
    for drawn in draw_splits(classes, 6, 0, SHARES, "ten classes"):
        person = {split: {int(name.split()[1]) // 2 for name in names} for split, names in drawn.classes.items()}
        assert not person["train"] & person["test"]
        assert not person["val"] & (person["train"] | person["test"])
    with pytest.raises(ValueError, match=r"give only 10 different sets .* at most 10\. Classes that share groups"):
        draw_splits(classes, 11, 0, SHARES, "ten classes")


def test_what_cannot_be_drawn_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = yaml.safe_load(Path("run.yaml").read_text())["data"]["benchmark"]["init_args"]["root"]
    monkeypatch.setattr("fsar.commands.measure.over_splits.encode_all", lambda *_: pytest.fail("videos were encoded"))
    untrained = "--model.method Prototype --model.alignment FrameMean"
    with pytest.raises(ValueError, match="needs 2 or more"):
        draw_splits(classes_of(Folder(root, seed=0)), 1, 0, SHARES, "nine")
    with pytest.raises(ValueError, match="are published"):
        classes_of(object())
    with pytest.raises(ValueError, match="name single clips"):
        classes_of(Folder(root, train={"class_0": ["0.mp4"]}, val=[], test=["class_1"]))  # type: ignore[dict-item]
    for line, said in {
        "splits --random 2 --benchmark hmdb51 -c run.yaml": "no published benchmark",
        "splits --benchmark hmdb51 -c run.yaml": "go with --random",
        "test --splits 3 -c run.yaml --data.features store": "leave it out",
        "test --splits 3 -c run.yaml --data.opposites true --data.test_ways 2": "not pairs of opposites",
        f"test --splits 3 -c run.yaml {untrained} --data.test_ways 5": "drawn by seed 0: 5-way",
        f"test --splits 3 -c run.yaml {untrained} --test_shots 1 4": "drawn by seed 0: 3-way 4-shot",
    }.items():
        with pytest.raises(SystemExit) as end:
            run(line)
        assert said in f"{end.value}{capsys.readouterr().err}"


def test_the_interval_is_that_of_other_classes() -> None:
    rng, held, plain = np.random.default_rng(0), 0, 0
    for _ in range(600):
        world = rng.normal(0.5, 0.1, 20)
        means = [float(rng.permutation(world)[:6].mean()) for _ in range(10)]
        over = summarise_splits(means, 6 / 20)
        held += abs(over.mean - 0.5) <= over.interval
        plain += abs(over.mean - 0.5) <= quantile_t(9) * over.deviation / math.sqrt(10)
    assert 0.92 < held / 600 < 0.99
    assert plain / 600 < 0.8  # as if splits were independent
    assert [quantile_t(v) for v in range(1, 40)] == pytest.approx(scipy.stats.t.ppf(0.975, range(1, 40)), rel=2e-3)
    with pytest.raises(ValueError, match="2 splits or more"):
        summarise_splits([0.5], 0.2)
