"""A file is the former one or the new one, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from episodes.files import atomic, write_atomically


def fail(path: Path, error: BaseException) -> None:
    with write_atomically(path) as part:
        part.write_text("ne")
        raise error


def test_the_new_file_takes_the_place_of_the_former_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("former")
    with write_atomically(path) as part:
        part.write_text("new")
        assert path.read_text() == "former"
        assert part.parent == tmp_path  # on the same file system
        assert list(tmp_path.glob("*.json")) == [path]  # nobody takes a part for a file
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_contents_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    path, fsync = tmp_path / "a", os.fsync

    def record(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    with write_atomically(path) as part:
        part.write_text("new")
    assert synced == [(str(part), False), (str(tmp_path), True)]


@pytest.mark.parametrize("former", [True, False])
def test_a_full_disk_leaves_the_former_file_and_one_message(tmp_path: Path, former: bool) -> None:
    path = tmp_path / "a.json"
    if former:
        path.write_text("former")
    with pytest.raises(OSError, match="No space left on device") as raised:
        fail(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))  # as write() does: without a name
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(path)
    assert ("a.json stays as it was before" in str(raised.value)) == former
    assert os.listdir(tmp_path) == ["a.json"] * former
    assert not former or path.read_text() == "former"


def test_an_error_about_another_file_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, write_atomically(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert raised.value.filename == str(tmp_path / "other")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_whatever_breaks_it_off_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail(tmp_path / "a", error())
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, write_atomically(tmp_path / "none" / "a"):
        pass
    assert raised.value.filename == str(tmp_path / "none" / "a")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    with write_atomically(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_text() == "new"


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    old, young, other = ".a.host-1-0123abcd.part", ".a.host-2-0123abcd.part", ".other.part"
    for name in (old, young, other):
        (tmp_path / name).write_text("left")
    for name in (old, other):
        os.utime(tmp_path / name, (0, 0))
    with write_atomically(tmp_path / "a") as part:
        part.write_text("new")
    # the second may still be written to, the third is none of ours
    assert sorted(os.listdir(tmp_path)) == [young, other, "a"]


def test_many_writers_of_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write(number: int) -> None:
        with write_atomically(path) as part:
            part.write_text(str(number) * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(10)))
    assert len(set(path.read_text())) == 1
    assert len(path.read_text()) == 10_000
    assert os.listdir(tmp_path) == ["a"]


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120)
    with write_atomically(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert atomic.STALE > 3600  # a slow writer is not a dead one
