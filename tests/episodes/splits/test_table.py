"""A list of files and labels as a benchmark. Most files here are empty: only those with spans are opened."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from episodes.dataset import ClipDataset, leave_out_broken
from episodes.frames import SegmentCentre
from episodes.listing.span import Span
from episodes.splits import Folder, Table
from episodes.transforms import ClipTransform
from episodes.video import read_frames

CLIPS = [f"{name}/{i}.mp4" for name in ("walk", "run", "swim", "jump_rope") for i in range(2)]
SPLITS = {"walk": "train", "run": "train", "swim": "val", "jump_rope": "test"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four classes of two clips."""
    for clip in CLIPS:
        (tmp_path / clip).parent.mkdir(exist_ok=True)
        (tmp_path / clip).touch()
    return tmp_path


@pytest.fixture
def video(clips: Path, tmp_path: Path) -> Path:
    """Ten frames, ten a second."""
    return Path(shutil.copy(clips / "class_0" / "0.mp4", tmp_path / "long.mp4"))


def table(root: Path, lines: list[str], header: str = "file,label,split", name: str = "mine.csv") -> Path:
    (root / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return root / name


def whole(root: Path) -> list[str]:
    return [f"{clip},{clip.split('/')[0]},{SPLITS[clip.split('/')[0]]}" for clip in CLIPS]


def test_a_table_with_splits(root: Path) -> None:
    made = Table(table(root, whole(root))).load()
    assert made.name == "mine"
    assert made.train.class_names == ("walk", "run")
    assert made.train.paths == ("walk/0.mp4", "walk/1.mp4", "run/0.mp4", "run/1.mp4")
    assert made.train.labels == (0, 0, 1, 1)
    assert made.test.class_names == ("jump rope",)
    assert made.val.path(1) == root / "swim" / "1.mp4"
    assert made.val.span(1) is None
    assert made.notes == ()


def test_every_kind_of_file_gives_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [dict(zip(("file", "label", "split"), line.split(","), strict=True)) for line in whole(root)]
    (root / "mine.json").write_text(json.dumps(rows))
    (root / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table(root, [line.replace(",", "\t") for line in whole(root)], "file\tlabel\tsplit", "mine.tsv")
    first = Table(table(root, ["", *whole(root)], "\ufefffile, label ,split")).load().fingerprint()
    for suffix in ("json", "jsonl", "tsv"):
        assert Table(root / f"mine.{suffix}").load().fingerprint() == first
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (root / "mine.parquet").touch()
    with pytest.raises(ImportError, match=r"pyarrow reads and which is not installed: `pip install pyarrow`"):
        Table(root / "mine.parquet").load()


def test_parquet_with_empty_cells(root: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="parquet needs pyarrow")
    names = [clip.split("/")[0] for clip in CLIPS]
    columns = {"file": CLIPS, "label": names, "split": [SPLITS[name] for name in names], "end": [float("nan")] * 8}
    parquet.write_table(pyarrow.table(columns), root / "mine.parquet")
    assert Table(root / "mine.parquet").load().fingerprint() == Table(table(root, whole(root))).load().fingerprint()


def test_lists_columns_root_and_descriptions(root: Path) -> None:
    lines = [f'{clip},{i // 2},"a person, {clip.split("/")[0]}ing"' for i, clip in enumerate(CLIPS)]
    (root / "lists").mkdir()
    file = table(root / "lists", lines, "path,category,description")
    columns: dict[str, str | None] = {"file": "path", "label": "category"}
    made = Table(file, root, [3, "0"], [], [1], columns=columns, name="own").load()
    assert made.train.class_names == ("a person, jump_ropeing", "a person, walking")
    assert made.val.class_names == ()
    assert made.notes == ("left out: 1 of the labels, in no list (2)",)
    bare = Table(file, root, [3, 0], [], [1], columns={**columns, "description": None}).load()
    assert bare.train.class_names == ("3", "0")


def test_a_seed_draws_as_a_folder_does(root: Path) -> None:
    file = table(root, [",".join(line.split(",")[:2]) for line in whole(root)], "file,label")
    shares = (0.5, 0.25, 0.25)
    for seed in range(5):
        one, other = Table(file, seed=seed, fractions=shares).load(), Folder(root, seed=seed, fractions=shares).load()
        assert [one.split(key).class_names for key in SPLITS.values()] == [
            other.split(key).class_names for key in SPLITS.values()
        ]


def test_groups_stay_together(root: Path) -> None:
    groups = {"walk": "ann", "swim": "ann", "run": "bob", "jump_rope": ""}
    lines = [f"{clip},{clip.split('/')[0]},{groups[clip.split('/')[0]]}" for clip in CLIPS]
    file = table(root, lines, "file,label,group")
    for seed in range(8):
        made = Table(file, seed=seed, fractions=(0.5, 0.25, 0.25)).load()
        names = [set(made.split(key).class_names) for key in ("train", "val", "test")]
        assert {"walk", "swim"} in names
        assert [len(part) for part in names] == [2, 1, 1]
    with pytest.raises(ValueError, match=r"row 6: group 'ann' is in test here and in train in \S+ row 2\. Divide"):
        Table(file, train=["walk"], val=[], test=["swim"]).load()
    assert Table(file, train=["walk"], val=[], test=["swim"], columns={"group": None}).load().test.labels == (0, 0)
    tied = table(root, [f"{clip},{clip.split('/')[0]},one" for clip in CLIPS], "file,label,group")
    with pytest.raises(ValueError, match=r"val gets none\. 4 of them share groups, and stay together"):
        Table(tied, seed=0).load()


def spans(root: Path, lines: list[str], **options: Any) -> Table:
    return Table(table(root, lines, "file,label,start,end"), None, ["a"], [], ["b"], **options)


def test_a_part_of_a_file_gives_its_frames(video: Path) -> None:
    made = spans(video.parent, ["long.mp4,a,,0.4", "long.mp4,a,0.4,0.7", "long.mp4,b,0.7,"]).load()
    assert made.train.paths == ("long.mp4#t=0,0.4", "long.mp4#t=0.4,0.7")
    assert made.test.paths == ("long.mp4#t=0.7",)
    assert made.train.path(1) == made.test.path(0) == video

    def seen(part: str, clip: int, frames: int) -> np.ndarray:
        transform = ClipTransform(size=32, resize_to=32, crop="centre")
        return ClipDataset(made.split(part), SegmentCentre(), transform, frames).clip(clip)["frames"].numpy()

    for part, clip, expected in (("train", 0, [0, 1, 2, 3]), ("train", 1, [4, 5, 6, 6]), ("test", 0, [7, 8, 9, 9])):
        assert np.array_equal(seen(part, clip, 4), read_frames(video, expected).transpose(0, 3, 1, 2))
    assert np.array_equal(seen("train", 1, 1), read_frames(video, [5]).transpose(0, 3, 1, 2))
    assert leave_out_broken(made.train)[1] == {}
    video.write_bytes(b"broken")
    with pytest.warns(UserWarning, match="1 of the 2 videos"):
        kept, left_out, _ = leave_out_broken(made.train, skip=True)
    assert (len(kept), set(left_out)) == (0, set(made.train.paths))


def test_arithmetic_of_spans() -> None:
    cut = [0.0, 1.0, 1.968, 2.0, 3.3, 10.01]
    parts = [Span(a, b).frames(300, 30000 / 1001) for a, b in pairwise(cut)]
    assert [i for part in parts for i in part] == list(range(300))
    assert Span(0.367, 0.4).frames(30, 30) == range(11, 12)  # 0.3666 s, as people write it
    assert Span(0.34, 0.4).frames(30, 30) == range(11, 12)
    assert Span(9.9).frames(100, 10) == range(99, 100)
    assert (str(Span(0, 1.5)), str(Span(2.25))) == ("#t=0,1.5", "#t=2.25")
    assert Span(0, 1).meets(Span(0.5, 0.6))
    assert not Span(0, 1).meets(Span(1))
    for wrong in (Span(0.0, 10.2), Span(10.0), Span(1.01, 1.02)):
        with pytest.raises(ValueError, match="its span of"):
            wrong.frames(100, 10)
    with pytest.raises(ValueError, match="seconds mean nothing"):
        Span(0.0, 1.0).frames(100, 0)


def test_parts_that_overlap(video: Path) -> None:
    shutil.copy(video, video.with_name("copy.mp4"))
    lines = ["long.mp4,a,0,0.5", "copy.mp4,a,0.5,0.7", "long.mp4,b,0.4,0.8", "long.mp4,b,0.8,0.9"]
    (told,) = spans(video.parent, lines).load().notes
    assert re.match(r"2 clips are there twice, in two splits.*: copy.* the same content; long.*,0\.8 overlap in", told)
    dropped = spans(video.parent, lines, twice="drop").load()
    assert (dropped.train.paths, dropped.test.paths) == ((), ("long.mp4#t=0.8,0.9",))
    kept = spans(video.parent, lines, twice="keep").load()
    assert (len(kept.train), len(kept.test), len(kept.facts["clips_twice"])) == (2, 2, 2)
    (note,) = spans(video.parent, ["long.mp4,a,0,0.5", "long.mp4,a,0.4,0.8", "long.mp4,b,0.8,0.9"]).load().notes
    assert note.startswith("1 clip is there twice")


WRONG = {
    "no label": (["walk/0.mp4,,train"], "row 3: label is empty"),
    "no file": (["walk/9.mp4,walk,train"], r"row 3: there is no file \S+9\.mp4\. Did you mean [01]\.mp4"),
    "unknown split": (["walk/0.mp4,hop,dev"], "row 3: split must be train, val or test, found 'dev'"),
    "two splits": (["walk/0.mp4,run,val"], r"row 3: class 'run' is in val here and in train in \S+, row 2\."),
    "there before": (["run/0.mp4,walk,train"], r"row 3: the clip run/0\.mp4 stands in \S+, row 2 already"),
    "comma": (["a,b,c,d"], "row 3 has 4 cells, and the header 3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rows_are_named(name: str, root: Path) -> None:
    lines, message = WRONG[name]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Table(table(root, ["run/0.mp4,run,train", *lines])).load()


TIMES = {
    "0.5,1.5": r"row 2, \S+long\.mp4: its span of 0\.5 s to 1\.5 s reaches beyond its 10 frames, 1\.000 s at 10 frames",
    "x,": "row 2: start must be seconds, such as 2.5, found 'x'",
    "-1,": "row 2: start must be seconds from 0, found -1",
    ",nan": "row 2: end must be seconds from 0, found nan",
    "0.5,0.5": r"row 2: the span ends at 0\.5 s, not after its start",
    "0.51,0.52": "row 2, .* holds no frame",
}


@pytest.mark.parametrize("times", TIMES)
def test_wrong_spans_are_named(times: str, video: Path) -> None:
    with pytest.raises(ValueError, match=TIMES[times]):
        spans(video.parent, [f"long.mp4,a,{times}", "long.mp4,b,0.9,1.0"]).load()


def test_wrong_tables(root: Path) -> None:
    for header, message in (
        (
            "file,labels,split",
            r"has no column 'label'; did you mean 'labels'\? Its own name .*\{label: NAME",
        ),
        ("file,label,fold", "has no column 'split'"),
        ("file,label,label", "has several columns 'label'"),
    ):
        with pytest.raises(ValueError, match=message):
            Table(table(root, whole(root), header)).load()
    with pytest.raises(ValueError, match=r"holds no rows"):
        Table(table(root, [])).load()
    with pytest.raises(ValueError, match=r"is no table; expected a file that ends in \.csv"):
        Table(shutil.copy(table(root, whole(root)), root / "mine.xlsx")).load()
    (root / "mine.json").write_text('{"file": 1')
    with pytest.raises(ValueError, match=r"mine\.json cannot be read as JSON"):
        Table(root / "mine.json").load()
    (root / "mine.json").write_text('[{"file": "walk/0.mp4", "label": ["walk"]}]')
    with pytest.raises(ValueError, match=r"row 1, label: expected a text or a number, found \['walk'\]"):
        Table(root / "mine.json").load()
    two = ["walk/0.mp4,walk,train,going", "walk/1.mp4,walk,train,on foot"]
    with pytest.raises(ValueError, match=r"row 3: class 'walk' is described as 'on foot' here and as 'going' in"):
        Table(table(root, two, "file,label,split,description")).load()
    with pytest.raises(FileNotFoundError, match=re.escape("give --data.benchmark.file PATH. A relative path starts")):
        Table("nowhere.csv").load()
    with pytest.raises(FileNotFoundError, match=re.escape("give --data.benchmark.root PATH.")):
        Table(table(root, whole(root)), root / "nowhere").load()
    for options in ({"train": ["walk"]}, {"train": [], "val": [], "test": [], "seed": 1}, {"twice": "some"}):
        with pytest.raises(ValueError, match=r"^Table: "):
            Table(root / "mine.csv", **options)  # type: ignore[arg-type]


def test_spans_of_a_split_must_fit(video: Path) -> None:
    made = spans(video.parent, ["long.mp4,a,0,0.5", "long.mp4,b,0.5,"]).load()
    with pytest.raises(ValueError, match="1 paths, but 2 spans"):
        replace(made.train, spans=(None, None))
