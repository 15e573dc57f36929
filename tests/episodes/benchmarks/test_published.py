"""Published benchmarks on files laid out as people have them; the real toy sets among them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from episodes.benchmarks import SPLITS, Published, definition, read_lists
from episodes.benchmarks.coverage import examine, kinds_of
from episodes.benchmarks.definitions import Dataset
from episodes.benchmarks.disk import find_videos, refuse_wrong_root
from episodes.video.packed import PackWriter

YOUTUBE = "-kYzxMKp514"


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def cut_lists(folder: Path, name: str, clips: dict[str, dict[str, list[str]]]) -> Path:
    """Our CSV of some clips of a benchmark: split -> class -> videos."""
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["benchmark", "split", "class_id", "class", "video"])
        for split in clips:
            for label, (kind, videos) in enumerate(clips[split].items()):
                writer.writerows([name, split, label, kind, video] for video in videos)
    return path


def toy(shared: Path, folder: Path, name: str, benchmark: str) -> Path:
    """Lists of a benchmark cut to the clips of a toy set."""
    clips = json.loads((shared / "videos" / "splits.json").read_text())[name]
    return cut_lists(folder, benchmark, {s: {k.replace("_", " "): v for k, v in clips[s].items()} for s in SPLITS})


@pytest.mark.parametrize(
    ("dataset", "video", "path"),
    [
        ("ssv2", "78687", "20bn-something-something-v2/78687.webm"),
        ("ssv2", "78687", "78687.mp4"),
        ("ssv2", "78687", "train8/78687/00001.jpg"),
        ("ssv2", "8", "8/8/img_00001.jpg"),
        ("kinetics", f"{YOUTUBE}_000086_000096", f"train_256/blasting_sand/{YOUTUBE}_000086_000096.mp4"),
        ("kinetics", f"{YOUTUBE}_000086_000096", f"blasting sand/{YOUTUBE}.mkv"),
        ("kinetics", f"{YOUTUBE}_000086_000096", f"v_{YOUTUBE}.mp4"),
        ("kinetics", f"{YOUTUBE}_000086_000096", f"blasting sand/{YOUTUBE}_86_96.mp4"),
        ("kinetics", YOUTUBE, f"val_256/blasting_sand/{YOUTUBE}_000086_000096.webm"),
        ("kinetics", f"{YOUTUBE}_000086_000096", f"frames/{YOUTUBE}_000086_000096/frame_00001.png"),
        ("ucf101", "v_HandstandPushups_g01_c01", "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi"),
        ("ucf101", "v_YoYo_g01_c01", "YoYo/v_YoYo_g01_c01/image_00001.jpg"),
        ("hmdb51", "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0",
         "hmdb51_org/cartwheel/(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi"),
    ],
)  # fmt: skip
def test_layouts(tmp_path: Path, dataset: Dataset, video: str, path: str) -> None:
    touch(tmp_path, path, "notes.txt", ".hidden/78687.mp4", "other/99.mp4")
    found = find_videos(tmp_path, [video, "not-there-1"], dataset)
    expected = path.rsplit("/", 1)[0] if path.endswith(("jpg", "png")) else path
    assert found.paths == {video: expected}
    assert found.extra == ("other/99.mp4",)


def test_another_clip_of_the_same_youtube_video_is_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, f"{YOUTUBE}_000010_000020.mp4")
    assert find_videos(tmp_path, [f"{YOUTUBE}_000086_000096"], "kinetics").paths == {}


def test_a_video_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "webm/7.webm", "mp4/7.mp4")
    with pytest.raises(ValueError, match=r"'7' is twice under .*: mp4/7.mp4 and webm/7.webm"):
        find_videos(tmp_path, ["7"], "ssv2")


def test_class_folders_with_a_picture_in_them_are_no_videos(tmp_path: Path) -> None:
    touch(tmp_path, "8/thumbnail.jpg", "8/78687.webm", "cover.png")
    assert find_videos(tmp_path, ["78687", "8"], "ssv2").paths == {"78687": "8/78687.webm"}


def test_packed_stores_are_found_and_may_be_the_root(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "all.pack") as store:
        store.add("some/78687", np.zeros((2, 4, 6, 3), np.uint8), 12.0)
    assert find_videos(tmp_path, ["78687"], "ssv2").paths == {"78687": "all.pack/some/78687"}
    assert find_videos(tmp_path / "all.pack", ["78687"], "ssv2").paths == {"78687": "some/78687"}


def test_wrong_roots(tmp_path: Path) -> None:
    touch(tmp_path, *(f"clips/holiday{i}.mp4" for i in range(5)))
    found = find_videos(tmp_path, ["78687", "80000"], "ssv2")
    message = (
        r"none of the 2 videos is under .*Looked, in all its folders, for 78687.webm, 78687.mp4 or a folder 78687 of "
        r"frames; found clips/holiday0.mp4, clips/holiday1.mp4, clips/holiday2.mp4 and 2 more"
    )
    with pytest.raises(FileNotFoundError, match=message):
        refuse_wrong_root(tmp_path, found, ["78687", "80000"], "ssv2")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; .* exists and holds clips"):
        find_videos(tmp_path / "nowhere", ["1"], "ssv2")


HMDB = {
    "train": {"draw_sword": ["a_draw_sword_0", "b_draw_sword_1"], "wave": ["c_wave_0"]},
    "val": {"golf": ["d_golf_0"]},
    "test": {"talk": ["e_talk_0"]},
}
FILES = [f"{kind}/{video}.avi" for classes in HMDB.values() for kind, videos in classes.items() for video in videos]


def hmdb(tmp_path: Path, files: list[str] = FILES, **options: Any) -> Published:
    (tmp_path / "root").mkdir()
    lists = cut_lists(tmp_path, "hmdb51", HMDB)
    return Published("hmdb51", touch(tmp_path / "root", *files), lists, **{"allow_changed": True, **options})


def test_a_benchmark_and_what_its_results_record(tmp_path: Path) -> None:
    benchmark = hmdb(tmp_path).load()
    assert benchmark.name == "hmdb51"
    assert benchmark.train.class_names == ("draw sword", "wave")
    assert benchmark.train.paths == tuple(FILES[:3])
    assert benchmark.train.labels == (0, 0, 1)
    assert benchmark.facts["coverage"]["train"] == {"listed": 3, "found": 3}
    assert "train has 3 videos, published 4,280" in benchmark.facts["list_changes"]
    assert benchmark.facts["list_sha256"] == read_lists(tmp_path, definition("hmdb51"), True).sha256()


def test_published_names(tmp_path: Path) -> None:
    assert hmdb(tmp_path, names="published").load().train.class_names == ("draw_sword", "wave")


def test_missing_videos_need_consent_and_are_recorded(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"1 of the 5 videos of hmdb51 .* such as 'b_draw_sword_1'.*allow_missing"
    ):
        hmdb(tmp_path, [f for f in FILES if "b_draw" not in f]).load()
    source = Published("hmdb51", tmp_path / "root", tmp_path, allow_missing=True, allow_changed=True)
    benchmark = source.load()
    assert benchmark.train.labels == (0, 1)
    assert benchmark.facts["coverage"]["train"] == {"listed": 3, "found": 2}
    missing, changed = benchmark.notes
    assert missing == "found 2 of 3 videos of split train"
    assert changed.startswith("not the published lists: train has 2 classes, published 31; ")


def test_lists_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train has 2 classes, published 31; train has 3 videos, published 4,280"):
        hmdb(tmp_path, allow_changed=False).load()


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="no published benchmark 'hmdb'; known are"):
        Published("hmdb", "root", "lists")
    with pytest.raises(ValueError, match="names must be 'clean' or 'published', found 'pretty'"):
        Published("hmdb51", "root", "lists", names="pretty")  # type: ignore[arg-type]


def test_real_something_something_clips(shared: Path, tmp_path: Path) -> None:
    """The SSv2 reader on ssv2toy15, whose classes are SSv2-Full classes in other splits."""
    root = shared / "videos" / "ssv2toy15"
    lists = toy(shared, tmp_path, "ssv2toy15", "ssv2_full")
    with pytest.raises(ValueError, match="is no val class of ssv2_full"):
        Published("ssv2_full", root, lists).load()
    benchmark = Published("ssv2_full", root, lists, names="published", allow_changed=True).load()
    assert [len(benchmark.split(s)) for s in SPLITS] == [50, 50, 50]
    assert benchmark.train.class_names[2] == "Covering [something] with [something]"
    assert all(benchmark.test.path(i).is_file() for i in range(50))


def test_real_ucf_clips(shared: Path, tmp_path: Path) -> None:
    """The UCF101 reader on ucf13, which agrees with the published split."""
    root = shared / "videos" / "ucf13"
    lists = read_lists(toy(shared, tmp_path, "ucf13", "ucf101"), definition("ucf101"), allow_changed=True)
    known = definition("ucf101")
    assert set(lists.classes["train"]) < set(known.classes["train"])
    assert set(lists.classes["test"]) < set(known.classes["test"])
    assert lists.classes["val"] == ()
    benchmark = Published("ucf101", root, tmp_path, allow_changed=True).load()
    assert [len(benchmark.split(s)) for s in SPLITS] == [199, 0, 124]
    assert "Jump Rope" in benchmark.test.class_names


def test_coverage_of_real_clips_with_gaps(shared: Path, tmp_path: Path) -> None:
    """Found, missing, unreadable, short and extra videos, and what they do to the protocol."""
    source, root = shared / "videos" / "ucf13", tmp_path / "root"
    clips = json.loads((shared / "videos" / "splits.json").read_text())["ucf13"]
    clips = {s: {k: v[:4] for k, v in list(clips[s].items())[:2]} for s in SPLITS}
    lists = read_lists(cut_lists(tmp_path, "ucf101", clips), definition("ucf101"), allow_changed=True)
    names = [f"{kind}/{video}" for s in SPLITS for kind, videos in clips[s].items() for video in videos]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(source / name)
    missing, broken = names[0], names[-1]
    (root / missing).unlink()
    (root / broken).unlink()
    (root / broken).write_text("no video")
    touch(root, "extra/one.mp4")
    coverage = examine(lists, root, frames=10**6)
    first, last = coverage.classes[0], coverage.classes[-1]
    assert first.missing == (Path(missing).stem,)
    assert list(last.unreadable) == [broken]
    assert len(last.short) == 3  # all that can be read have fewer than a million frames
    assert last.usable == 3
    assert coverage.extra == ("extra/one.mp4",)
    assert kinds_of((*coverage.extra, "a/b")) == "1 .mp4, 1 folder"
    train, small, test, small_test, note = coverage.consequences(shots=3, queries=1)
    assert "train: 1 of 8 videos (12.5%) are out" in train
    assert "train: 1 class with fewer than 4 videos for 3 shots and 1 query" in small
    assert "test: 1 of 8 videos" in test
    assert "test: 1 class" in small_test
    assert "comparable only roughly" in note
