"""What a folder holds: clips, and what is left out. Files that are only listed are empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from episodes.listing import class_folders, find_clips, is_frame_folder, list_clips
from episodes.splits import Folder, query_split, support_split


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_stray_images_and_nested_folders(tmp_path: Path) -> None:
    make(
        tmp_path, "a/0.mp4", "a/cover.jpg", "a/1/00001.jpg", "a/1/00002.jpg", "a/1/flow/x.jpg", "a/2/a.mp4", "a/2/t.jpg"
    )
    make(tmp_path, "a/3/4/00001.jpg", "a/@eaDir/0.jpg", "a/Thumbs.db", "a/__MACOSX/0.mp4", "a/empty/x.txt")
    assert list_clips(tmp_path / "a") == (["0.mp4", "1"], ["2", "3", "cover.jpg", "empty"])
    assert not is_frame_folder(tmp_path / "a")
    queries = make(tmp_path / "q", "cover.jpg", "0/1.jpg", "1/1.jpg")
    assert query_split(queries, ("x",)).paths == ("0", "1")


def test_a_query_folder_with_a_cover_is_a_folder_of_clips_and_says_so(tmp_path: Path) -> None:
    notes: list[str] = []
    make(tmp_path / "q", "b.MTS", "c.h264", "cover.jpg", "notes.txt").joinpath("d.ts").write_bytes(b"\x47" + bytes(400))
    assert query_split(tmp_path / "q", ("x",), notes).paths == ("b.MTS", "c.h264", "d.ts")
    assert notes == ["left out: 2 entries that are no clips (q/cover.jpg, q/notes.txt)"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x/y/0.mp4"], r"its clips lie a level deeper, such as in .*x: move them up, or take"),
        (["000.npz", "001.npz"], "arrays lie in it, such as 000.npz. Joints are clips of a configuration alone"),
        (["00001.jpg", "00002.jpg"], "images lie in it, such as 00001.jpg: put those of each clip into a folder"),
        (["notes.txt"], "only 1 other entry, such as notes.txt"),
        ([".DS_Store", "Thumbs.db"], "found nothing"),
    ],
)
def test_why_a_class_has_no_clips(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "walk").mkdir()
    make(tmp_path / "walk", *names)
    if "y" in names[0]:
        (tmp_path / "walk" / "x" / "y").rename(tmp_path / "walk" / "z")
        message = message.replace("x:", "z:")
    with pytest.raises(ValueError, match=message):
        find_clips(tmp_path / "walk", None, {})


def test_links_to_themselves_and_back_end(tmp_path: Path) -> None:
    make(tmp_path, "walk/0.mp4", "run/1.mp4", "run/2/00001.jpg", "run/2/00002.jpg")
    os.symlink("loop", tmp_path / "walk" / "loop")
    os.symlink("..", tmp_path / "walk" / "up")
    os.symlink(".", tmp_path / "run" / "2" / "self")
    assert list_clips(tmp_path / "walk") == (["0.mp4"], ["loop", "up"])
    assert list_clips(tmp_path / "run").clips == ["1.mp4", "2"]
    os.symlink(".", tmp_path / "self")
    assert class_folders(tmp_path) == ["run", "self", "walk"]
    with pytest.raises(ValueError, match=r"self has no clips: it is a link that leads back to .*: remove it"):
        support_split(tmp_path)


def test_a_class_that_is_a_link_to_another_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "walk/0.mp4", "run/1.mp4")
    os.symlink("walk", tmp_path / "jog")
    with pytest.raises(ValueError, match=r"class folders jog and walk in .* are one folder, by a link"):
        support_split(tmp_path)
    with pytest.raises(ValueError, match=r"walk and jog .* are one folder"):
        Folder(tmp_path, ["walk"], [], ["jog"]).load()
    assert Folder(tmp_path, ["walk"], [], ["run"]).load().train.paths == ("walk/0.mp4",)


def test_system_folders_are_no_classes(tmp_path: Path) -> None:
    make(tmp_path, "walk/0.mp4", "run/1.mp4", "__MACOSX/x", "@eaDir/x", "lost+found/x", ".git/x")
    assert class_folders(tmp_path) == ["run", "walk"]
