"""What is refused unread, and when uploaded files are deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from episodes.listing import VIDEO_SUFFIXES
from fsar.web.uploads import Held, Limits, Refused, check_file, collect

HEAD = b"\0\0\0\x0cftypisom"
CODECS = {".mp4": "mpeg4", ".mkv": "mpeg4", ".mov": "mpeg4", ".avi": "mpeg4", ".flv": "flv", ".wmv": "wmv2",
          ".mpg": "mpeg1video", ".ogv": "libvpx", ".webm": "libvpx", ".gif": "gif", ".3gp": "mpeg4"}  # fmt: skip


def clip(path: Path, size: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(HEAD + bytes(size))
    return str(path)


@pytest.mark.parametrize("suffix", CODECS)
def test_a_real_video_of_every_kind_passes(tmp_path: Path, suffix: str) -> None:
    if CODECS[suffix] not in av.codecs_available:
        pytest.skip(f"PyAV has no {CODECS[suffix]} here")
    path = tmp_path / f"clip{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[suffix], rate=25)
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "rgb8" if suffix == ".gif" else "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    check_file(path, Limits())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.mp4", b"a shopping list, not a video", "notes.mp4: not a video, whatever its name says, but a text"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "list.mp4: not a video"),
        ("list.mkv", b"ffconcat version 1.0\nfile /etc/hostname\n", "list.mkv: not a video"),
        ("empty.mp4", b"", "empty.mp4: the file is empty"),
        ("sound.avi", b"RIFF\0\0\0\0WAVE", "sound.avi: not a video, whatever its name says, but a sound"),
        ("clip.exe", HEAD, r"clip.exe is not taken: expected a video \(.*\.mp4.*\), found \.exe"),
        ("clip", HEAD, "found no suffix"),
        ("big.mp4", HEAD + bytes(2**20), r"big.mp4 is too large: 1\.0 MB, and at most 1 MB"),
    ],
)
def test_what_is_no_video_or_too_large_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused, match=message):
        check_file(tmp_path / name, Limits(megabytes=1))


def test_every_suffix_that_the_readers_know_is_offered(tmp_path: Path) -> None:
    for suffix in VIDEO_SUFFIXES:
        check_file(clip(tmp_path / f"clip{suffix.upper()}"), Limits())


def test_a_file_that_was_deleted_meanwhile_is_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"gone.mp4 is no longer held.*drop it once more"):
        check_file(tmp_path / "gone.mp4", Limits())


def test_rows_become_classes(tmp_path: Path) -> None:
    a, b, q = (clip(tmp_path / f"{name}.mp4") for name in "abq")
    rows: list[tuple[str | None, list[str]]] = [("  waving  hands ", [a]), ("", []), (None, []), ("jumping", [b])]
    names, clips = zip(*rows, strict=True)
    assert collect(names, clips, q, Limits(classes=2, clips=1)) == {"waving hands": [a], "jumping": [b]}


@pytest.mark.parametrize(
    ("names", "counts", "query", "message"),
    [
        (["", "b"], [1, 1], True, "Class 1 has clips but no name"),
        (["a", "b"], [1, 0], True, "Class 2, b, has no clip: drop one to 2"),
        (["a", "b"], [1, 3], True, "Class 2, b, has 3 clips: at most 2"),
        (["a", "a "], [1, 1], True, "Two classes are called a"),
        (["a", ""], [1, 0], True, "Two to 3 classes are needed .* found 1"),
        (["", ""], [0, 0], True, "found none"),
        (["a", "b", "c", "d"], [1] * 4, True, "Two to 3 classes are needed .* found 4"),
        (["a", "b"], [1, 1], False, "There is no clip to name"),
    ],
)
def test_what_is_missing_or_too_much_is_said(
    tmp_path: Path, names: list[str], counts: list[int], query: bool, message: str
) -> None:
    clips = [[clip(tmp_path / f"{row}_{i}.mp4") for i in range(count)] for row, count in enumerate(counts)]
    with pytest.raises(Refused, match=message):
        collect(names, clips, clip(tmp_path / "q.mp4") if query else None, Limits(classes=3, clips=2))


def test_every_clip_is_checked(tmp_path: Path) -> None:
    a, b, q = (clip(tmp_path / f"{name}.mp4") for name in "abq")
    for broken in (a, b, q):
        Path(broken).write_text("no video at all")
        with pytest.raises(Refused, match=f"{Path(broken).name}: not a video"):
            collect(["a", "b"], [[a], [b]], q, Limits())
        clip(Path(broken))


def test_a_file_goes_when_no_box_of_any_page_holds_it(tmp_path: Path) -> None:
    held = Held(tmp_path)
    a, b = clip(tmp_path / "1" / "a.mp4"), clip(tmp_path / "2" / "b.mp4")
    held.put("page", "first", [a])
    held.put("page", "second", [a, b])
    held.put("page", "second", [b])  # a was taken out, and still stands in the first
    assert Path(a).exists()
    held.put("other", "first", [b])  # an equal file, dropped on another page, is the same on disk
    held.forget("page")
    assert not Path(a).parent.exists()
    assert Path(b).exists()
    held.forget("page")  # closing twice does no harm
    held.put("other", "first", [])
    assert not list(tmp_path.iterdir())


def test_the_folder_of_all_uploads_stays(tmp_path: Path) -> None:
    held = Held(tmp_path / "uploads")
    held.put("page", "first", [clip(tmp_path / "uploads" / "a.mp4")])
    held.forget("page")
    assert list(tmp_path.rglob("*")) == [tmp_path / "uploads"]


def test_a_folder_that_something_else_is_written_to_stays(tmp_path: Path) -> None:
    held = Held(tmp_path)
    held.put("page", "first", [clip(tmp_path / "hash" / "a.mp4")])
    clip(tmp_path / "hash" / "half_written.mp4")
    held.forget("page")
    assert [path.name for path in tmp_path.rglob("*.mp4")] == ["half_written.mp4"]


def test_a_file_that_no_box_took_goes_and_one_that_is_gone_counts_nothing(tmp_path: Path) -> None:
    held = Held(tmp_path, unclaimed_seconds=0)
    taken, left, gone = (clip(tmp_path / name / "a.mp4") for name in ("taken", "left", "gone"))
    held.arrived([taken, left, gone])
    held.put("page", "first", [taken])
    Path(gone).unlink()
    assert held.count()[0] == 3
    held.sweep()
    assert (Path(taken).exists(), Path(left).exists()) == (True, False)
    assert (held.count()[0], held.size()) == (1, len(HEAD))
    patient = Held(tmp_path)
    patient.arrived([taken])
    patient.sweep()
    assert Path(taken).exists()


def test_two_full_questions_may_be_held() -> None:
    assert Limits(classes=3, clips=2, megabytes=1.5).total_bytes == 2 * 7 * 1.5 * 2**20


def test_the_size_counts_what_is_held_and_what_is_coming(tmp_path: Path) -> None:
    held = Held(tmp_path)
    assert held.size() == 0
    held.arrived([clip(tmp_path / "1" / "a.mp4", 100)] * 2)
    with held.coming() as count:
        count(30)
        count(20)
        assert (held.size(), held.count()) == (len(HEAD) + 150, (1, 1))
    assert (held.size(), held.count()) == (len(HEAD) + 100, (1, 0))


@pytest.mark.parametrize("path", ["/etc/hostname", "{folder}/../other.mp4"])
def test_only_uploads_are_read(tmp_path: Path, path: str) -> None:
    held = Held(tmp_path / "uploads")
    boxes: list[Any] = [{"path": path.format(folder=held.folder)}, [{"path": path.format(folder=held.folder)}]]
    for box in boxes:
        with pytest.raises(Refused, match="was not uploaded here"):
            held.paths(box)
    assert held.paths(None) == []
    assert held.paths([{"path": f"{held.folder}/1/a.mp4"}]) == [f"{held.folder}/1/a.mp4"]
    assert held.token(f"{held.folder}/1/a.mp4") == "held/1/a.mp4"
