"""Readers of lists: every format, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import CLASSES, make_definition, videos_of, write

from episodes.benchmarks import SPLITS, read_lists, write_lists
from episodes.benchmarks.definitions import Dataset
from episodes.benchmarks.lists import video_id, youtube_id


@pytest.mark.parametrize(
    ("form", "dataset"),
    [
        ("numbered", "hmdb51"),
        ("bare", "ssv2"),
        ("bare, two slashes", "ssv2"),
        ("class", "kinetics"),
        ("class", "ucf101"),
    ],
)
def test_every_format_gives_the_same_lists(tmp_path: Path, form: str, dataset: Dataset) -> None:
    known = make_definition(dataset)
    lists = read_lists(write(tmp_path, form, dataset), known)
    assert lists.classes == CLASSES
    assert lists.changes == ()
    for split in SPLITS:
        assert list(lists.videos[split]) == sorted(videos_of(split, dataset))
    table = tmp_path / "made_up.csv"
    write_lists(lists, table)
    assert table.read_text().startswith("benchmark,split,class_id,class,video\nmade_up,train,0,wave flag,")
    assert read_lists(table, known) == lists
    assert read_lists(tmp_path, known) == lists


def test_foreign_line_endings_marks_and_blank_lines(tmp_path: Path) -> None:
    folder = write(tmp_path, "numbered")
    file = folder / "train_few_shot.txt"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert read_lists(folder, make_definition()).changes == ()


def test_a_table_by_other_hands(tmp_path: Path) -> None:
    """The columns split, class_name and path are enough; lines of other benchmarks are left out."""
    rows = ["split,class_name,path"]
    rows += [f"{s},{CLASSES[s][label].upper()},somewhere/{video}.MP4" for s in SPLITS for label, video in videos_of(s)]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(rows))
    assert read_lists(table, make_definition()).changes == ()
    table.write_text("benchmark,split,class,video\nother,train,a,b\n")
    with pytest.raises(ValueError, match="holds no line of made_up, only of other"):
        read_lists(table, make_definition())


def line(text: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines, text]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (line("train2//videos/wave_flag/a.avi"), r"train_few_shot.txt, line 5: class 2, but train .* has classes 0..1"),
        (
            line("train1//videos/wave_flag/a.avi"),
            r"class 1 of train is 'juggle \(balls\)', but the path says 'wave_flag'",
        ),
        (line("test0//videos/sit/a.avi"), "belongs to test, but this is the train list"),
        (line("nothing"), "in no known format"),
        (line("dance/a"), "'dance' is no train class of made_up"),
        (lambda lines: [*lines, lines[0]], "is listed 2 times in train; expected once"),
        (
            line("train0//videos/wave_flag/Clip_sit_u_cm_np1_fr_med_0.avi"),
            "video 'Clip_sit_u.*' stands in train and in test",
        ),
        (lambda lines: lines[1:], r"train has 3 videos, published 4; sha256 \w{64}, published \w{64}"),
        (
            lambda lines: [lines[0].replace("med_1", "med_7"), *lines[1:]],
            r"published ones: sha256 \w{64}, published \w{64}",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, change: Callable[[list[str]], list[str]], message: str) -> None:
    folder = write(tmp_path, "numbered")
    file = folder / "train_few_shot.txt"
    file.write_text("\n".join(change(file.read_text().splitlines())))
    with pytest.raises(ValueError, match=message):
        read_lists(folder, make_definition())


def test_changed_lists_are_accepted_when_told_and_say_so(tmp_path: Path) -> None:
    """Classes that are left out, that are new, and that moved to another split; the ids follow."""
    table = tmp_path / "mine.csv"
    rows = ["train,juggle (balls),a", "train,dance,b", "val,sit,c", "test,stand up,d"]
    table.write_text("split,class,video\n" + "\n".join(rows))
    with pytest.raises(ValueError, match="'dance' is no train class"):
        read_lists(table, make_definition())
    lists = read_lists(table, make_definition(), allow_changed=True)
    assert lists.classes == {"train": ("juggle (balls)", "dance"), "val": ("sit",), "test": ("stand up",)}
    assert lists.videos["train"] == ((0, "a"), (1, "b"))
    changes = "; ".join(lists.changes)
    assert "train has 2 videos, published 4" in changes
    assert "train has 1 class more than its published list, such as 'dance'" in changes
    assert "val has 1 class more than its published list, such as 'sit'" in changes
    assert f"sha256 {lists.sha256()}, published" in changes


def test_leaks_are_refused_even_when_changes_are_not(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("split,class,video\ntrain,sit,a\ntest,sit,b\n")
    with pytest.raises(ValueError, match="class 'sit' stands in train and in test"):
        read_lists(table, make_definition(), allow_changed=True)
    table.write_text(
        "split,class,video\ntrain,sit,abcdefghijk_000001_000011\ntest,wave flag,abcdefghijk_000050_000060\n"
    )
    with pytest.raises(ValueError, match="YouTube id 'abcdefghijk' stands in train and in test"):
        read_lists(table, make_definition("kinetics"), allow_changed=True)


def test_missing_lists_say_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "readme.md").touch()
    message = (
        r"looked for made_up.csv, or for train_few_shot.txt, .* or trainlist03.txt, .*; found readme.md\. Get them with"
    )
    with pytest.raises(FileNotFoundError, match=message):
        read_lists(tmp_path, make_definition())


def test_a_table_without_its_header(tmp_path: Path) -> None:
    table = tmp_path / "made_up.csv"
    table.write_text("train,wave flag,a\n")
    with pytest.raises(
        ValueError, match="expected a header with benchmark,split,class_id,class,video; found train,wave"
    ):
        read_lists(tmp_path, make_definition())
    table.write_text("split,class,video\nTrain,wave flag,a\n")
    with pytest.raises(ValueError, match="line 2: split must be train, val or test; found 'Train'"):
        read_lists(tmp_path, make_definition())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("-kYzxMKp514_000086_000096", ("-kYzxMKp514", 86)),
        ("-kYzxMKp514_86_96", ("-kYzxMKp514", 86)),
        ("-kYzxMKp514-86-96", ("-kYzxMKp514", 86)),
        ("-kYzxMKp514", ("-kYzxMKp514", None)),
        ("v_-kYzxMKp514", ("-kYzxMKp514", None)),
        ("v_abc_efgh0_000010_000020", ("v_abc_efgh0", 10)),
        ("holiday", ("holiday", None)),
    ],
)
def test_youtube_ids(name: str, expected: tuple[str, int | None]) -> None:
    assert youtube_id(name) == expected


def test_video_ids_lose_only_the_endings_of_videos() -> None:
    assert [video_id(p) for p in ("a/b.mp4", "c.MKV", "12", "a/v1.5", " x.webm ")] == ["b", "c", "12", "v1.5", "x"]
