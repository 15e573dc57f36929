"""What an evaluation leaves behind."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from episodes.dataset import index_episodes
from episodes.sampler import EpisodeSampler
from episodes.views import Views
from fsar.encoders.weights.state import hash_tensors
from fsar.evaluation.comparing import comparison
from fsar.evaluation.provenance import Phases, time_shares
from fsar.evaluation.results import Predictions, read_record, set_damaged_aside, summarise, write_json, write_results

NAMES = ("wave", "jump", "sit", "clap")
LABELS = [video % 4 for video in range(24)]


def predictions(episodes: int = 12) -> tuple[Predictions, EpisodeSampler]:
    """Random scores of batches that arrive in another order, one of them twice."""
    sampler = EpisodeSampler(LABELS, ways=3, shots=1, queries=2, class_names=NAMES)
    scores = torch.randn(episodes, 6, 3, generator=torch.Generator().manual_seed(0))
    found = Predictions()
    for numbers in (np.arange(6, episodes), np.arange(6), np.arange(2)):
        found.add(index_episodes(sampler, numbers), scores[numbers])
    return found, sampler


def test_every_episode_counts_once_in_its_order() -> None:
    found, _ = predictions()
    assert found.arrays()["number"].tolist() == list(range(12))


def test_episodes_may_come_one_by_one() -> None:
    together, sampler = predictions()
    episodes, apart = index_episodes(sampler, np.arange(12)), Predictions()
    for number, scores in enumerate(together.arrays()["scores"]):
        apart.add(episodes.map(lambda x, i=number: x[i]), torch.from_numpy(scores))
    found, expected = apart.arrays(), together.arrays()
    assert all(np.array_equal(found[name], expected[name]) for name in ("number", "classes", "truth", "scores"))


def test_the_summary_is_that_of_a_plain_loop() -> None:
    found, sampler = predictions()
    rows = found.arrays()
    accuracies, confusion = [], np.zeros((4, 4), dtype=int)
    for number in range(12):
        classes, _, query = sampler.episodes([number])
        right = 0
        for video, score in zip(query[0], rows["scores"][number], strict=True):
            guess = int(classes[0][score.argmax()])
            confusion[LABELS[video], guess] += 1
            right += guess == LABELS[video]
        accuracies.append(right / 6)
    summary = summarise(rows, NAMES)
    assert summary["accuracy"] == pytest.approx(np.mean(accuracies))
    assert summary["interval_95"] == pytest.approx(1.96 * np.std(accuracies, ddof=1) / 12**0.5)
    assert summary["confusion"] == confusion.tolist()
    per_class = {name: confusion[c, c] / confusion[c].sum() for c, name in enumerate(NAMES)}
    assert summary["per_class_accuracy"] == pytest.approx(per_class)


def results(folder: Path, weight: float = 1.0) -> tuple[Path, dict[str, Any]]:
    found, sampler = predictions()
    method = nn.Linear(2, 1)
    nn.init.constant_(method.weight, weight)
    nn.init.zeros_(method.bias)
    method.encoder = SimpleNamespace(fingerprint=lambda trained: "f" * 64, pixels={"size": 8})  # type: ignore[assignment]
    phases = Phases()
    with phases.measure("score", torch.device("cpu")):
        time.sleep(0.01)
    result = {**summarise(found.arrays(), NAMES), **phases.record(), "encoder_forwards": 24}
    learner: Any = SimpleNamespace(
        objectives=SimpleNamespace(members={}), method=method, rows=found.arrays(), result=result
    )
    data = SimpleNamespace(
        record=lambda split: {"ways": 3, "shots": 1, "opposites": False, "episodes": 12},
        episode_sampler=lambda split: sampler,
        splits={"test": SimpleNamespace(paths=tuple(f"{video}.mp4" for video in range(24)))},
    )
    return write_results(folder, learner, data, {"seed": 1, "ckpt_path": "best.ckpt"}), result


def test_top_5_is_told_of_more_than_five_classes() -> None:
    generator = np.random.default_rng(0)
    scores, truth = generator.normal(size=(9, 4, 7)), generator.integers(0, 7, (9, 4))
    rows = {"scores": scores, "truth": truth, "classes": np.tile(np.arange(7), (9, 1))}
    names = tuple(f"class {i}" for i in range(7))
    expected = np.mean([t in np.argsort(-s)[:5] for s, t in zip(scores.reshape(-1, 7), truth.ravel(), strict=True)])
    assert summarise(rows, names)["top5_accuracy"] == pytest.approx(expected)
    assert "top5_accuracy" not in summarise({**rows, "scores": scores[..., :5], "truth": truth % 5}, names)
    same = {**rows, "scores": np.zeros_like(scores)}
    assert summarise(same, names)["top5_accuracy"] == 0  # nothing is told apart


def test_a_result_says_where_it_comes_from(tmp_path: Path) -> None:
    folder, result = results(tmp_path)
    assert folder == tmp_path / "results" / "test_3way_1shot"
    record = json.loads((folder / "results.json").read_text())
    assert record["accuracy"] == result["accuracy"]
    assert record["method"] == "Linear"
    assert record["distinct_episodes"] == 12
    assert record["config"]["seed"] == 1
    assert record["checkpoint"] == "best.ckpt"
    assert record["seconds"]["score"] >= 0.01
    assert record["peak_memory_mb"]["score"]["host"] > 10
    assert {"torch", "python"} <= record["versions"].keys()
    assert all(len(record[name]) == 64 for name in ("weights_sha256", "encoder_sha256", "config_sha256"))
    assert results(tmp_path)[0] == folder  # the same configuration again takes the place of its result
    other, _ = results(tmp_path / "other", weight=2.0)
    assert json.loads((other / "results.json").read_text())["weights_sha256"] != record["weights_sha256"]


def test_there_is_a_row_for_every_query(tmp_path: Path) -> None:
    folder, result = results(tmp_path)
    with gzip.open(folder / "episodes.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 6
    assert np.mean([row["truth"] == row["prediction"] for row in rows]) == pytest.approx(result["accuracy"])
    for row in rows:
        assert row["truth"] == NAMES[LABELS[int(row["video"].removesuffix(".mp4"))]]
        best = max(range(3), key=lambda i: float(row[f"score_{i}"]))
        assert row["prediction"] == row[f"class_{best}"]


def test_an_interrupted_record_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"accuracy": 1})
    with pytest.raises(TypeError):
        write_json(path, {("not", "a"): "key"})
    assert json.loads(path.read_text()) == {"accuracy": 1}


def test_a_full_disk_leaves_the_former_results_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder, _ = results(tmp_path)
    former = {path.name: path.stat().st_ino for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)  # of the record; the rows are written before
        for place in (tmp_path, tmp_path / "new"):
            with pytest.raises(OSError, match="No space left"):
                results(place)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == former
    assert list((tmp_path / "new").glob("results/*")) == []


@pytest.mark.parametrize("damage", [b"", b'{"accuracy": 0.5, "conf', b"[" * 100_000, b"\xff\x00", b"null"])
def test_damaged_results_are_set_aside_by_name(tmp_path: Path, damage: bytes) -> None:
    folder, _ = results(tmp_path)
    rows = (folder / "episodes.csv.gz").read_bytes()
    for number in ("", "-2"):
        (folder / "results.json").write_bytes(damage)
        moved = set_damaged_aside(tmp_path)
        assert [path.name for path in moved] == [f"results.damaged{number}.json"]
        assert moved[0].read_bytes() == damage
        assert not (folder / "results.json").exists()
    assert (folder / "episodes.damaged.csv.gz").read_bytes() == rows
    assert results(tmp_path)[0] == folder
    assert set_damaged_aside(tmp_path) == []


def test_results_that_are_damaged_meanwhile_do_not_cost_the_evaluation(tmp_path: Path) -> None:
    folder, _ = results(tmp_path)
    (folder / "results.json").write_text("{")
    assert results(tmp_path)[0].name == f"{folder.name}-2"


def test_rows_do_not_depend_on_when_and_by_whom_they_are_written(tmp_path: Path) -> None:
    first, second = (results(tmp_path / name)[0] / "episodes.csv.gz" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_hashes_see_types_and_values() -> None:
    hashes = [hash_tensors({"w": torch.tensor(x, dtype=t)}) for x in (0.0, 1.0) for t in (torch.float32, torch.int32)]
    assert len(set(hashes)) == 4


def test_hashes_see_names_and_shapes_and_no_order() -> None:
    one, two = torch.zeros(2, 3), torch.ones(3)
    expected = hash_tensors({"a": one, "b": two})
    assert hash_tensors({"b": two, "a": one}) == expected
    assert hash_tensors({"a": one.view(3, 2), "b": two}) != expected
    assert hash_tensors({"a": one, "c": two}) != expected


def test_the_line_about_time() -> None:
    line = time_shares({"seconds": {"data": 3.0, "encode": 6.0, "score": 1.0}, "encoder_forwards": 2857}, 2857)
    assert line == "10.0 s: decode 30%, encode 60%, score 10%; 2,857 clips encoded for 2,857 videos"
    line = time_shares({"seconds": {"data": 1.0}, "encoder_forwards": 12}, 2, Views(clips=2, crops=3))
    assert line.endswith("; 12 clips encoded for 2 videos (2 x 3 views of each, averaged in features)")


def test_an_interval_of_one_episode_is_null_and_read_as_none(tmp_path: Path) -> None:
    one = {"accuracy": 1.0, "interval_95": math.nan, "rows": [{"auroc_interval_95": math.nan}], "config": {"a": None}}
    path = tmp_path / "results.json"
    write_json(path, {"method": "X", "episodes": 1, "data": {}, **one})
    assert "NaN" not in path.read_text()
    for text in (path.read_text(), path.read_text().replace('interval_95": null', 'interval_95": NaN')):  # as before
        path.write_text(text)
        for record in (read_record(path), comparison.read_record(path)):
            assert record is not None
            assert math.isnan(record["interval_95"])
            assert math.isnan(record["rows"][0]["auroc_interval_95"])
            assert record["config"] == {"a": None}
