"""Splits, benchmarks and folders of clips. The files here are empty: listing never opens one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from episodes.splits import Benchmark, Folder, Split, query_split, support_split

LISTS: dict[str, Any] = {"train": ["jump_rope", "walk"], "val": ["run"], "test": ["swim"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four classes with three videos each, some of other kinds."""
    for name in ("walk", "run", "jump_rope", "swim"):
        for clip in ("b.mp4", "a.AVI", "notes.txt", ".hidden.mp4"):
            (tmp_path / "clips" / name / clip).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "clips" / name / clip).touch()
        (tmp_path / "clips" / name / "frames").mkdir()
        (tmp_path / "clips" / name / "frames" / "00001.jpg").touch()
        (tmp_path / "clips" / name / "nothing").mkdir()
    (tmp_path / "clips" / "readme.md").touch()
    return tmp_path / "clips"


def split(name: str = "train", **changes: Any) -> Split:
    return replace(Split(name, (f"{name} a", f"{name} b"), (f"{name}1", f"{name}2"), (0, 1), Path()), **changes)


def test_folder_by_lists(root: Path) -> None:
    source = Folder(root, **LISTS, class_names={"swim": "a person swims"})
    benchmark = source.load()
    assert benchmark.name == "clips"
    assert benchmark.train.class_names == ("jump rope", "walk")
    assert benchmark.train.paths[:3] == ("jump_rope/a.AVI", "jump_rope/b.mp4", "jump_rope/frames")
    assert benchmark.train.labels == (0, 0, 0, 1, 1, 1)
    assert benchmark.train.path(0) == root / "jump_rope" / "a.AVI"
    assert benchmark.split("test").class_names == ("a person swims",)
    assert benchmark.facts["files_left_out"] == {"jump_rope": 2, "walk": 2, "run": 2, "swim": 2}
    assert benchmark.notes == (
        "left out: 8 entries that are no clips (jump_rope/notes.txt, jump_rope/nothing, walk/notes.txt, ...)",
    )


def test_folder_with_listed_clips_and_no_validation(root: Path) -> None:
    benchmark = Folder(root, train={"walk": ["frames", "a.AVI"]}, val=[], test={"run": ["b.mp4"]}).load()
    assert benchmark.train.paths == ("walk/a.AVI", "walk/frames")
    assert benchmark.val.class_names == benchmark.val.paths == ()
    assert benchmark.test.paths == ("run/b.mp4",)


def test_seeded_division_is_complete_and_repeatable(root: Path) -> None:
    made = Folder(root, seed=1, fractions=(0.5, 0.25, 0.25)).load()
    assert [len(part.class_names) for part in (made.train, made.val, made.test)] == [2, 1, 1]
    assert made.train.class_names == tuple(sorted(made.train.class_names))
    assert made.fingerprint() == Folder(root, seed=1, fractions=(0.5, 0.25, 0.25)).load().fingerprint()
    divisions = {Folder(root, seed=seed, fractions=(0.5, 0.25, 0.25)).load().fingerprint() for seed in range(12)}
    assert len(divisions) > 4
    # These names by this seed on every machine, whatever the order in which the disk lists them.
    assert made.train.class_names == ("run", "walk")


def test_fingerprint_ignores_the_root_and_sees_the_rest(root: Path) -> None:
    benchmark = Folder(root, **LISTS).load()
    moved = replace(benchmark, train=replace(benchmark.train, root=Path("elsewhere")))
    assert moved.fingerprint() == benchmark.fingerprint()
    for change in ({"class_names": ("jump rope", "march")}, {"labels": (0, 0, 0, 1, 1, 0)}, {"opposites": ((0, 1),)}):
        assert replace(benchmark, train=replace(benchmark.train, **change)).fingerprint() != benchmark.fingerprint()
    less = benchmark.train.without({"walk/b.mp4"})
    assert len(less) == 5
    assert less.labels == (0, 0, 0, 1, 1)
    assert less.fingerprint() != benchmark.train.fingerprint()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "train, val, test not given.*or give a seed"),
        ({"train": ["walk"], "test": ["run"]}, r"val not given.*val: \[\] for no validation"),
        ({**LISTS, "seed": 1}, "either lists of classes or a seed"),
        ({"seed": 1, "fractions": (0.5, 0.5, 0.5)}, "add up to 1"),
        ({"seed": 1, "fractions": (0.98, 0.01, 0.01)}, "4 classes .* too few.*val gets none"),
        ({**LISTS, "train": ["jump_rope", "wlak"]}, "no class folder 'wlak'; did you mean 'walk'"),
        (
            {**LISTS, "train": ["zzz", "yyy"]},
            r"no class folder 'yyy' \(2 of the 4 names are missing\); it has jump_rope",
        ),
        ({**LISTS, "class_names": {"swimm": "x"}}, r"class folder \(named in class_names\) 'swimm'; .*'swim'"),
        ({**LISTS, "train": {"walk": ["c.mp4"]}}, "walk has no clip 'c.mp4'; did you mean 'b.mp4'"),
        ({**LISTS, "train": ["walk", "walk"]}, "split train: the class name 'walk' occurs 2 times"),
        ({**LISTS, "train": {"walk": ["b.mp4", "b.mp4"]}}, "the video 'walk/b.mp4' occurs 2 times"),
        ({**LISTS, "val": ["walk"]}, "class 'walk' stands in train and in val"),
        ({**LISTS, "class_names": {"run": "Walk"}}, "class 'Walk' stands in train and in val"),
    ],
)
def test_folder_errors(root: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Folder(root, **arguments).load()


def test_missing_and_empty_folders(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*clisp; did you mean .*clips\?"):
        Folder(tmp_path / "clisp", seed=0).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no folders"):
        Folder(tmp_path / "empty", seed=0).load()
    for name in ("a.mp4", "b.mp4", "frames/00001.jpg"):
        (root / "walk" / "a.AVI").unlink(missing_ok=True)
        (root / "walk" / name).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"walk has no clips: expected videos .*only 3 other entries, such as frames"):
        Folder(root, **LISTS).load()


def test_no_video_may_be_in_two_splits() -> None:
    shared = split("test", paths=("train2", "x"))
    with pytest.raises(ValueError, match="benchmark b: video 'train2' stands in train and in test"):
        Benchmark("b", split(), split("val"), shared)
    elsewhere = replace(shared, root=Path("other"))  # the same name under another root is another video
    assert Benchmark("b", split(), split("val"), elsewhere).test is elsewhere


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": (0,)}, "2 paths, but 1 labels"),
        ({"labels": (0, 2)}, r"class ids must lie in 0\.\.1 .* found 0\.\.2"),
        ({"opposites": ((0, 5),)}, r"found 0\.\.5"),
        ({"paths": ("x", "x")}, "the video 'x' occurs 2 times"),
    ],
)
def test_split_checks_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(**changes)


def test_support_and_query_of_a_prediction(root: Path) -> None:
    support = support_split(root)
    assert support.class_names == ("jump rope", "run", "swim", "walk")
    one = query_split(root / "walk" / "a.AVI", support.class_names)
    assert (one.paths, one.root) == (("a.AVI",), root / "walk")
    assert query_split(root / "walk" / "frames", ("any",)).paths == ("frames",)
    assert query_split(root / "walk", support.class_names).paths == ("a.AVI", "b.mp4", "frames")
    with pytest.raises(FileNotFoundError, match=r"no file or folder 'a.avi'; did you mean 'a.AVI'\?"):
        query_split(root / "walk" / "a.avi", support.class_names)


def test_the_real_clips(shared: Path) -> None:
    for name, lists in json.loads((shared / "videos" / "splits.json").read_text()).items():
        benchmark = Folder(shared / "videos" / name, lists["train"], lists["val"], lists["test"]).load()
        for part in ("train", "val", "test"):
            assert len(benchmark.split(part)) == sum(map(len, lists[part].values()))
