"""What the report is made of: which episodes are chosen, how shares, confusions and curves are counted."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is no run: it holds none of config.yaml"),
        (lambda path: path.write_text(""), "is a file"),
    ],
)
def test_a_path_that_is_no_run_is_told_in_a_line_or_two(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path / "nothing")
    with pytest.raises(SystemExit) as error:
        importlib.import_module("fsar.commands.look.report").main([str(tmp_path / "nothing")])
    message = str(error.value)
    assert said in message
    assert str(tmp_path / "nothing") in message
    assert len(message.splitlines()) <= 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "is no result"),
        ('{"method": "M", "accuracy": 1, "interval_95": 0, "episodes": 1, "data": {}}', "lacks class_names, config, "),
    ],
)
def test_a_broken_result_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "results" / "test_5way_1shot" / "results.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(SystemExit, match=said) as error:
        importlib.import_module("fsar.commands.look.report").main([str(tmp_path)])
    assert str(file) in str(error.value)


def test_the_confident_and_the_close_are_chosen_and_no_class_twice() -> None:
    classes, cards = importlib.import_module("fsar.reporting.classes"), importlib.import_module("fsar.reporting.cards")
    names = np.array(["wave", "jump", "sit"], dtype=object)
    margin = np.array([9.0, 8.0, 1.0, -7.0, -0.1, -6.0, 0.2, 5.0])
    truth = np.array([0, 0, 1, 2, 1, 2, 0, 2])
    scores = np.zeros((8, 3))
    scores[np.arange(8), truth] = margin
    rows = classes.Rows(np.arange(8), np.full(8, ""), np.tile(names, (8, 1)), truth, scores)
    np.testing.assert_allclose(rows.margin, margin)
    found = [(chosen.row, chosen.kind) for chosen in cards.choose(rows, 8)]
    kinds = ["clearly right"] * 3 + ["clearly wrong"] * 3 + ["a close call"] * 2
    assert found == list(zip([0, 7, 2, 3, 4, 5, 6, 1], kinds, strict=True))
    assert [chosen.row for chosen in cards.choose(rows, 1)] == [4]


def test_intervals_of_shares_are_wilsons() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is the oracle")
    share = importlib.import_module("fsar.reporting.classes").Share
    for right, count in ((0, 7), (3, 7), (7, 7), (998, 1000)):
        low, high = stats.binomtest(right, count).proportion_ci(0.95, "wilson")
        assert share(right / count, count).ends == pytest.approx((low, high), abs=1e-5)


def test_confusion_is_counted_where_the_other_class_was_on_offer() -> None:
    classes = importlib.import_module("fsar.reporting.classes")
    offered = np.array([["a", "b"], ["a", "c"], ["a", "b"]], dtype=object)
    scores = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    rows = classes.Rows(np.arange(3), np.full(3, ""), offered, np.zeros(3, dtype=int), scores)
    found = {"class_names": ["a", "b", "c"], "confusion": [[2, 1, 0], [0, 0, 0], [0, 0, 0]], "data": {"queries": 1}}
    ((truth, answer, share),) = classes.confused(found, rows)
    assert (truth, answer, share.value, share.count) == ("a", "b", 0.5, 2)
    assert classes.confused(found, None)[0][2].value == pytest.approx(1 / 3)


def test_a_resumed_training_is_one_curve(tmp_path: Path) -> None:
    tables = ("step,train_loss\n1,5\n3,4\n5,3\n", "step,train_loss\n4,2\n6,1\n7,\n", "")
    for version, text in enumerate(tables):
        file = tmp_path / "csv" / f"version_{version}" / "metrics.csv"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    curves = importlib.import_module("fsar.reporting.curves").read_curves(tmp_path)
    steps, values = curves.series("train_loss")
    assert steps.tolist() == [2, 4, 5, 7]  # counted from 1
    assert values.tolist() == [5, 4, 2, 1]
    assert curves.resumed == (5,)


def test_the_options_of_a_test_are_told() -> None:
    overrides = importlib.import_module("fsar.reporting.runs").overrides
    base = {"run": "a", "data": {"ways": 5}, "model": {"m": {"class_path": "M", "init_args": {"x": 1, "y": None}}}}
    other = {"run": "b", "data": {"ways": 2}, "model": {"m": {"class_path": "M", "init_args": {"x": 1, "y": "z w"}}}}
    assert overrides(base, other) == ["--data.ways", "2", "--model.m.y", "'z w'"]
    other["model"] = {"m": {"class_path": "N"}}
    assert overrides(base, other)[2:] == ["--model.m", '\'{"class_path": "N"}\'']
