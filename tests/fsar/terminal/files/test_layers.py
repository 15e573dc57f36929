"""Data of another source laid over a run: nothing of the run's own source stays behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from fsar.build import expand, make_parser, parse_options
from fsar.terminal.files.layers import set_back

LISTS = {"root": "clips", "train": ["a"], "val": [], "test": ["b"]}


def write(path: Path, class_path: str, **init_args: object) -> str:
    path.write_text(yaml.safe_dump({"data": {"benchmark": {"class_path": class_path, "init_args": init_args}}}))
    return str(path)


@pytest.fixture
def shapes(tmp_path: Path) -> str:
    return write(tmp_path / "shapes.yaml", "episodes.shapes.Shapes", root="shapes", seed=7, workers=1)


def test_what_both_classes_have_gets_its_default_unless_the_second_gives_it(shapes: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "folder.yaml", "episodes.splits.Folder", **LISTS)
    found = set_back(["test", "-c", shapes, "-c", folder])
    assert "--data.benchmark.init_args.seed=null" in found
    assert all("root" not in word for word in found)
    asked = ["test", "-c", shapes, "-c", folder, "--data.benchmark.init_args.seed", "3"]
    assert not any("seed" in word for word in set_back(asked))


def test_the_same_class_and_a_single_file_keep_all(shapes: str, tmp_path: Path) -> None:
    more = write(tmp_path / "more.yaml", "episodes.shapes.Shapes", clips_per_class=3)
    assert set_back(["fit", "-c", shapes]) == set_back(["fit", "-c", shapes, "-c", more]) == []
    assert set_back(["fit", "-c", shapes, "--data.benchmark", "Folder"]) != []
    assert set_back(["fit", "-c", shapes, "--data.benchmark", "no.such.Class"]) == []


def test_the_second_source_is_what_its_file_says(shapes: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "folder.yaml", "episodes.splits.Folder", **LISTS)
    words = expand(["fit", "-c", shapes, "-c", folder, "-c", "method/prototype", "--model.encoder", "encoder/tiny"])
    said = parse_options(make_parser(None, ("model", "data")), words[1:]).data.benchmark
    assert said.class_path == "episodes.splits.Folder"
    assert json.loads(json.dumps(said.init_args.as_dict()))["seed"] is None
    assert said.init_args.train == ["a"]
