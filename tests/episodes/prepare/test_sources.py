"""What was made of a video that was replaced since is made anew."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from episodes.prepare.convert import Form, Settings, name_of, prepare, target
from episodes.prepare.sources import NOTES
from episodes.video import packed, read_clip
from episodes.video.info import Pixels

FORMS: tuple[Form, ...] = ("h264", "jpeg", "pack")


def frames(folder: Path, level: int, count: int = 4) -> Path:
    """A folder of gray frames."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (32, 24), (level, level, level)).save(folder / f"{number:05}.png")
    return folder


def levels(out: Path, form: Form, name: str) -> Pixels:
    """Gray values of what was made of a video."""
    path = out / name_of(name) if form == "pack" else target(out, name, form)
    pixels = (packed.read if form == "pack" else read_clip)(path, lambda count, fps: np.arange(count))
    return np.asarray(pixels.mean((1, 2, 3)).round())


def age(path: Path, seconds: int) -> None:
    """Sets back when a file, or a folder and its files, was changed last."""
    for entry in (path, *(path.iterdir() if path.is_dir() else ())):
        then = entry.stat().st_mtime - seconds
        os.utime(entry, (then, then))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two folders of frames."""
    frames(tmp_path / "root" / "wave" / "a", 40)
    frames(tmp_path / "root" / "wave" / "b", 80)
    return tmp_path / "root"


VIDEOS = ["wave/a", "wave/b"]


def place(tmp_path: Path, form: Form) -> Path:
    return tmp_path / ("out.pack" if form == "pack" else "out")


@pytest.mark.parametrize(("form", "workers"), [*((form, 1) for form in FORMS), ("pack", 2)])
def test_a_replaced_source_is_made_anew(root: Path, tmp_path: Path, form: Form, workers: int) -> None:
    out, settings = place(tmp_path, form), Settings(form, fps=10.0)
    prepare(root, out, VIDEOS, settings, workers)
    shutil.rmtree(root / "wave" / "a")
    age(frames(root / "wave" / "a", 200), 3600)  # older than what was made: as a file that was moved there
    notes: list[str] = []
    seen: list[tuple[int, int]] = []
    assert prepare(root, out, VIDEOS, settings, 1, lambda *count: seen.append(count), notes=notes) == {}
    assert seen == [(2, 2)]
    assert notes == ["1 source changed since (wave/a): made anew"]
    assert np.allclose(levels(out, form, "wave/a"), 200, atol=3)
    assert np.allclose(levels(out, form, "wave/b"), 80, atol=3)
    notes.clear()
    prepare(root, out, VIDEOS, settings, 1, lambda *count: seen.append(count), notes=notes)
    assert (seen, notes) == ([(2, 2)], [])


@pytest.mark.parametrize("form", FORMS)
def test_one_that_was_touched_or_copied_stays(root: Path, tmp_path: Path, form: Form) -> None:
    out, settings = place(tmp_path, form), Settings(form, fps=10.0)
    prepare(root, out, VIDEOS, settings)
    shutil.copytree(root, tmp_path / "copy")
    age(tmp_path / "copy" / "wave" / "a", -3600)
    notes: list[str] = []
    prepare(tmp_path / "copy", out, VIDEOS, settings, notes=notes)
    assert notes == []


@pytest.mark.parametrize("form", FORMS)
def test_what_was_made_before_sources_were_noted(root: Path, tmp_path: Path, form: Form) -> None:
    """It is taken as it is, unless its source was changed later; a replacement after that is seen."""
    out, settings = place(tmp_path, form), Settings(form, fps=10.0)
    for video in VIDEOS:
        age(root / video, 7200)
    prepare(root, out, VIDEOS, settings)
    (out / NOTES).unlink()
    age(root / "wave" / "b", -9000)
    notes: list[str] = []
    prepare(root, out, VIDEOS, settings, notes=notes)
    assert notes == ["1 source changed since (wave/b): made anew"]
    shutil.rmtree(root / "wave" / "a")
    age(frames(root / "wave" / "a", 200), 3600)
    prepare(root, out, VIDEOS, settings)
    assert np.allclose(levels(out, form, "wave/a"), 200, atol=3)


def test_a_broken_replacement_is_told_and_lines_that_were_cut_off_do_no_harm(root: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "out", Settings("jpeg")
    prepare(root, out, VIDEOS, settings)
    lines = (out / NOTES).read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == VIDEOS
    (out / NOTES).write_text(lines[0] + "\n" + lines[1][:20])
    for image in (root / "wave" / "a").iterdir():
        image.write_text("no image")
    failed = prepare(root, out, VIDEOS, settings)
    assert list(failed) == ["wave/a"]
    assert "what was made of the former one stays" in failed["wave/a"]
    assert np.allclose(levels(out, "jpeg", "wave/a"), 40, atol=3)
    assert prepare(root, out, VIDEOS, settings).keys() == {"wave/a"}  # and is not believed the next time either
    assert {json.loads(line)["name"] for line in (out / NOTES).read_text().splitlines()} == set(VIDEOS)


def test_another_suffix_is_another_source(root: Path, tmp_path: Path) -> None:
    """``a.avi`` in the place of ``a.mp4``: both become one name."""
    prepare(root, tmp_path / "videos", VIDEOS, Settings("h264", fps=10.0))
    former, other = (tmp_path / "videos" / "wave" / name for name in ("a.mp4", "b.mp4"))
    prepare(tmp_path / "videos", tmp_path / "out", ["wave/a.mp4"], Settings("jpeg"))
    former.unlink()
    other.rename(other.with_name("a.mov"))
    prepare(tmp_path / "videos", tmp_path / "out", ["wave/a.mov"], Settings("jpeg"))
    assert np.allclose(levels(tmp_path / "out", "jpeg", "wave/a"), 80, atol=3)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_prepared_lies_elsewhere_than_its_sources(root: Path, form: Form) -> None:
    before = sorted(root.rglob("*"))
    inside = root / ("x.pack" if form == "pack" else "x")
    for out in (root, inside) if form != "pack" else (inside,):
        with pytest.raises(ValueError, match=r"lies in it, .* name a folder outside"):
            prepare(root, out, VIDEOS, Settings(form))
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("form", ["h264", "jpeg"])
def test_what_nobody_prepared_is_not_taken_for_prepared(root: Path, tmp_path: Path, form: Form) -> None:
    foreign = target(tmp_path / "out", "wave/b", form)
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"of somebody else")
    with pytest.raises(ValueError, match=r"wave/b.* is there, and was not prepared by this .* another folder"):
        prepare(root, tmp_path / "out", VIDEOS, Settings(form))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [foreign]
