"""Folders of images: which ones, in which order, and what their pixels mean."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from episodes.video import VideoError, find_unreadable, probe, read_frames, verify

ORDERED = {
    "tum": ["1305031102.175304", "1305031102.975304", "1305031103.000304"],
    "vlc": ["vlcsnap-00h00m00s980", "vlcsnap-00h00m01s010", "vlcsnap-00h01m00s000"],
    "clock": ["cap_2023-05-01_12-00-59-820", "cap_2023-05-01_12-01-00-010", "cap_2023-05-02_00-00-00-000"],
    "points": ["2023.05.01 12.00.09", "2023.05.01 12.00.10", "2023.05.01 12.01.00"],
    "burst": ["IMG_20230501_120000_602", "IMG_20230501_120001_003"],
    "shots": ["cam1_0009", "cam1_0010", "cam2_0001"],
    "padding": ["f9", "f10", "f011", "f100"],
    "letter case": ["IMG_1", "img_2", "Img_3"],
    "negative": ["t_-10", "t_-9", "t_0", "t_1"],
    "negative decimals": ["-1.5", "-1.25", "0.0", "0.5"],
    "separators": ["img-1", "img-2", "img-10"],
    "separators after signs": ["a_-1", "a_-2", "a_-10"],
    "decimals": ["1.25", "1.5", "1.75", "2"],
    "steps": ["0.0", "0.05", "0.1", "0.15", "0.2"],
    "comma": ["1,25", "1,5"],
    "counters": ["shot1.8", "shot1.9", "shot1.10", "shot2.1"],
    "nothing but words": ["begin", "end", "middle"],
    "a date that stays": ["2023-05-01_frame1", "2023-05-01_frame2", "2023-05-01_frame10"],
    "clock of 12 hours": [
        f"Screenshot 2023-05-01 at {time}"
        for time in ("12.59.58 AM", "1.00.09 AM", "11.59.59 AM", "12.00.00\u202fPM", "1.00.00\u202fPM")
    ],
    "clock of 12 hours, minutes": ["a 11-59 a.m.", "a 12-00 p.m.", "a 01-00 p.m."],
    "days with the year last that stays": ["3_5_1999", "3_5_2000", "3_5_2001"],
    "days and numbers without marks": ["20230131", "20230201"],
    "eight digits": ["01011999", "01012000", "01012001"],
    "number, then time": ["f9_t1.5", "f10_t1.25"],
}


def _fill(folder: Path, names: Sequence[str]) -> Path:
    """Images that are 10, 20, 30 ... all over; they are made in another order than the one asked for."""
    for number, name in sorted(enumerate(names), key=lambda pair: pair[1][::-1]):
        file = name if name.lower().endswith((".jpg", ".png")) else f"{name}.png"
        Image.new("L", (8, 8), 10 * number + 10).save(folder / file)
    return folder


def _values(folder: Path) -> list[int]:
    return read_frames(folder, range(probe(folder).frames))[:, 0, 0, 0].tolist()


@pytest.mark.filterwarnings("ignore:.*none of its 3 images has a number")
@pytest.mark.parametrize("names", ORDERED.values(), ids=ORDERED)
def test_order(tmp_path: Path, names: list[str]) -> None:
    assert _values(_fill(tmp_path, names)) == [10 * number + 10 for number in range(len(names))]


def test_endings_do_not_matter(tmp_path: Path) -> None:
    _fill(tmp_path, ["x1.png", "x2.JPG", "x3.jpg", "x10.PNG"])
    assert np.diff(_values(tmp_path)).tolist() == [10, 10, 10]


@pytest.mark.parametrize("odd", [["cover"], ["IMG_cover"], ["12_thumb"], ["x_0001 (2)", "x_0002 - copy"]])
def test_what_does_not_fit_is_left_out_and_listed(tmp_path: Path, odd: list[str]) -> None:
    _fill(tmp_path, [f"x_{number}" for number in range(6)] + odd)
    note = probe(tmp_path).note
    assert note.startswith(f"{len(odd)} of its {6 + len(odd)} images left out")
    assert all(name in note for name in odd)
    with pytest.warns(UserWarning, match="images left out, not named as x_0.png is"):
        assert read_frames(tmp_path, [5, 0])[:, 0, 0, 0].tolist() == [60, 10]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        read_frames(tmp_path, [1])
        assert verify(tmp_path).frames == 6


def test_one_warning_for_a_data_set(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        _fill(folder, ["1", "2", "3"] if folder.name == "a" else ["1", "2", "3", "cover"])
    with pytest.warns(UserWarning, match="1 more folder of frames") as caught:
        assert find_unreadable(folders) == {}
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_frames(folders[2], [0])


def test_an_order_of_names_without_numbers_is_said(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        _fill(folder, ["begin", "end", "middle"])
    said = "none of its 3 images has a number in its name.* order of their names, from begin.png to middle.png"
    with pytest.warns(UserWarning, match=f"{said} .and 1 more folder of frames") as caught:
        assert find_unreadable(folders) == {}
    assert len(caught) == 1
    _fill(tmp_path, ["alone"])
    assert not probe(tmp_path).note


@pytest.mark.parametrize("names", [["rgb_1", "rgb_2", "depth_1", "depth_2"], ["1", "cover"], ["a1", "b2", "c3"]])
def test_no_clear_sequence(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(VideoError, match=r"named in several ways.*keep one sequence"):
        probe(_fill(tmp_path, names))


@pytest.mark.parametrize("mark", ["-", ""])
def test_days_with_the_year_last_are_refused(tmp_path: Path, mark: str) -> None:
    days = [day.replace("-", mark) for day in ("31-01-2023", "01-02-2023")]
    with pytest.raises(VideoError, match=rf"several days, {days[1]} and {days[0]}, .*by year, month, day"):
        probe(_fill(tmp_path, [f"{days[0]}_23-59", f"{days[1]}_00-01"]))


def test_deep_gray(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "1.png")
    Image.fromarray(values).save(tmp_path / "2.png")
    deep, plain = read_frames(tmp_path, [0, 1])
    np.testing.assert_array_equal(deep, plain)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :8] = 255  # the top left corner
    undo = {1: 0, 2: "x", 3: "xy", 4: "y", 5: "t", 6: "tx", 7: "txy", 8: "ty"}[orientation]
    stored = upright
    for step in reversed(str(undo)):
        stored = {"x": stored[:, ::-1], "y": stored[::-1], "t": stored.transpose(1, 0, 2), "0": stored}[step]
    exif = Image.Exif()
    exif[0x112] = orientation
    for name in ("1.jpg", "2.png", "3.webp"):
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, exif=exif)
    assert (probe(tmp_path).height, probe(tmp_path).width) == (16, 32)
    found = read_frames(tmp_path, [0, 1, 2]).astype(int)
    assert np.abs(found - upright).mean() < 5


def test_senseless_exif(tmp_path: Path) -> None:
    for name in ("1.png", "2.webp"):
        Image.new("RGB", (32, 16)).save(tmp_path / name, exif=b"Exif\x00\x00nonsense")
    assert read_frames(tmp_path, [0, 1]).shape == (2, 16, 32, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes_of_images(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (16, 16), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 8, 16))
    image.convert(mode).save(tmp_path / ("1.jpg" if mode == "CMYK" else "1.png"))
    assert np.abs(read_frames(tmp_path, [0])[0].astype(int) - np.asarray(image)).max() <= 8


@pytest.mark.parametrize("folder", ["tum", "vlc", "clock", "android_burst"])
def test_names_that_were_scrambled_once(shared: Path, folder: str) -> None:
    values = _values(shared / "faults" / "image_names" / folder)
    assert values == list(range(len(values)))
