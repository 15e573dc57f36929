"""Names as configurations write them and as they are on disk."""

from __future__ import annotations

import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from episodes.listing import resolve
from episodes.splits import Folder, Table

COMPOSED = unicodedata.normalize("NFC", "grüßen")
APART = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(
    "name",
    ["0", "7", "007", "yes", "no", "On", "null", "~", "1_000", "3.10", "1e3", ".5", "1:30", "0x1F", "true", "-1"],
)
def test_what_yaml_reads_as_something_else_is_the_one_folder_written_so(name: str) -> None:
    (value,) = yaml.safe_load(f"[{name}]")
    assert resolve([value], ["walk", name, "x 1"], "class folder", Path("r")) == [name]


def test_the_reading_of_yaml_1_2(tmp_path: Path) -> None:
    assert resolve([1000.0], ["1e3", "1000"], "class", tmp_path) == ["1e3"]


def test_text_wins_and_doubt_is_told() -> None:
    there = ["yes", "on", "7", "007"]
    assert resolve(["007", "yes", 7], ["yes", "on", "007"], "class", Path("r")) == ["007", "yes", "007"]
    with pytest.raises(ValueError, match="r: the class True may be 'on' and 'yes'; quote it"):
        resolve([True], there, "class", Path("r"))
    with pytest.raises(ValueError, match="the class 7 may be '007' and '7'; quote it"):
        resolve([7], there, "class", Path("r"))
    with pytest.raises(FileNotFoundError, match="no class '8'"):
        resolve([8], there, "class", Path("r"))


def test_composed_and_decomposed_are_one_name(tmp_path: Path) -> None:
    assert COMPOSED != APART
    for clip in (f"{APART}/0.mp4", "run/1.mp4"):
        (tmp_path / clip).parent.mkdir()
        (tmp_path / clip).touch()
    made = Folder(tmp_path, [COMPOSED], [], ["run"]).load()
    assert made.train.class_names == (COMPOSED,)
    assert made.train.path(0).exists()
    named = Folder(tmp_path, [COMPOSED], [], ["run"], class_names={COMPOSED: "to greet"}).load()
    assert named.train.class_names == ("to greet",)
    (tmp_path / APART).rename(tmp_path / COMPOSED)
    assert Folder(tmp_path, [APART], [], ["run"]).load().fingerprint() == made.fingerprint()
    (tmp_path / APART).mkdir()
    (tmp_path / APART / "0.mp4").touch()
    with pytest.raises(ValueError, match=f"the class name '{COMPOSED}' occurs 2 times"):
        Folder(tmp_path, [COMPOSED, APART], [], ["run"]).load()


def test_class_names_are_texts(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(ValueError, match=r"class_names: the name of 1 must be a text, found False; quote it"):
        Folder(tmp_path, seed=0, class_names={1: False}).load()


@pytest.mark.parametrize(
    ("given", "name"),
    [(date(2024, 1, 5), "2024-01-05"), (np.int64(7), "7"), (np.float32(1.5), "1.5"), (Path("wave"), "wave")],
)
def test_what_python_holds_in_place_of_text_is_the_folder_of_that_name(tmp_path: Path, given: Any, name: str) -> None:
    for folder in ("2024-01-05", "7", "1.5", "wave", "rest"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.mp4").touch()
    assert Folder(tmp_path, [given], [], ["rest"]).load().train.paths == (f"{name}/{name}.mp4",)
    clips = Folder(tmp_path, {given: [Path(f"{name}.mp4")]}, [], ["rest"]).load().train
    assert clips.paths == (f"{name}/{name}.mp4",)


@pytest.mark.parametrize("given", [date(2024, 1, 6), np.int64(8), Path("waves"), None])
def test_what_python_holds_that_is_not_there_is_named(tmp_path: Path, given: Any) -> None:
    (tmp_path / "wave").mkdir()
    with pytest.raises(FileNotFoundError, match="has no class folder"):
        Folder(tmp_path, [given], [], []).load()


@pytest.mark.parametrize("given", [b"wave", ["wave"], ("wave", "rest"), {"wave": 1}, object()])
def test_what_is_no_name_is_refused(tmp_path: Path, given: Any) -> None:
    (tmp_path / "wave").mkdir()
    with pytest.raises(ValueError, match="the name of a class folder must be a text, found"):
        Folder(tmp_path, [given], [], []).load()


@pytest.mark.parametrize("given", ["wave", Path("wave"), 7, {"wave": "0.mp4"}, {"wave": 0}])
def test_a_name_is_no_list_of_names(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ValueError, match=r"Folder: train.* must be a list of names, found .*; one name alone is \["):
        Folder(tmp_path, given, [], [])
    if not isinstance(given, dict):
        with pytest.raises(ValueError, match="Table: val must be a list of names"):
            Table(tmp_path / "t.csv", train=[], val=given, test=[])


def test_lists_have_an_order_and_something_in_them(tmp_path: Path) -> None:
    (tmp_path / "wave").mkdir()
    (tmp_path / "wave" / "0.mp4").touch()
    unordered: Any = {"wave", "rest"}
    with pytest.raises(ValueError, match="whose order decides the episodes; found a set"):
        Folder(tmp_path, unordered, [], [])
    assert Folder(tmp_path, iter(["wave"]), [], []).load().train.class_names == ("wave",)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no clip of .*wave is listed: list some, or leave the class out"):
        Folder(tmp_path, {"wave": []}, [], []).load()
    with pytest.raises(ValueError, match=r"class_names: expected \{folder: text\}, found \['a'\]"):
        Folder(tmp_path, ["wave"], [], [], class_names=["a"]).load()  # type: ignore[arg-type]
