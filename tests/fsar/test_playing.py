"""Films of two clips: in order of time, from the first pair of the path to the last, as GIF and MP4."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from fsar.alignment import OTAM, BiMHM
from fsar.commands.look.play import best_path
from fsar.playing import BIG, GAP, HEAD, moment, play, walk, write_film

PATH = ((0, 0), (1, 1), (1, 2), (2, 2))


def clip(frames: int) -> np.ndarray:
    """Each frame of one grey, that tells its number."""
    return (10 * np.arange(frames, dtype=np.uint8))[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)


def test_time_never_runs_backwards_and_every_pair_is_passed() -> None:
    places = walk(PATH, 4)
    assert len(places) == 4 * (len(PATH) - 1) + 1
    assert (np.diff(places, axis=0) >= 0).all()
    assert places[::4].tolist() == [list(pair) for pair in PATH]


def test_between_two_seen_frames_those_of_the_video_are_shown() -> None:
    assert [moment(place, (1, 5, 9)) for place in (0, 0.5, 1, 1.75, 2)] == [1, 3, 5, 8, 9]


def test_both_clips_show_what_is_matched_and_the_dot_is_there() -> None:
    film = play(clip(12), clip(20), ((1, 5, 9), (3, 9, 15)), torch.rand(3, 3), PATH, "words", per_pair=2)
    shown = [[picture.getpixel((x, HEAD + 5))[0] // 10 for x in (GAP + 5, 2 * GAP + BIG + 5)] for picture in film]
    assert shown == [[1, 3], [3, 6], [5, 9], [5, 12], [5, 15], [7, 15], [9, 15]]
    assert len({picture.tobytes() for picture in film}) == len(film)


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_film_is_written_whole(suffix: str, tmp_path: Path) -> None:
    film = [Image.new("RGB", (65, 33), colour) for colour in ("red", "green", "blue")]
    write_film(film, tmp_path / "new" / f"film.{suffix}")
    if suffix == "gif":
        with Image.open(tmp_path / "new" / "film.gif") as found:
            assert (found.n_frames, found.size, found.info["loop"]) == (3, (65, 33), 0)
        return
    with av.open(str(tmp_path / "new" / "film.mp4")) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(64, 32)] * 3


def test_what_cannot_be_played_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"film.png is to be a film: expected a name that ends in .gif or .mp4"):
        write_film([Image.new("RGB", (8, 8))], tmp_path / "film.png")
    with pytest.raises(ValueError, match="BiMHM matches frames in no order"):
        best_path(BiMHM(), torch.rand(3, 3))
    assert best_path(OTAM(), 1 - torch.eye(4))[1] == ((0, 0), (1, 1), (2, 2), (3, 3))
