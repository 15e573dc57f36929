"""What clips were cut from, and what splits share."""

from __future__ import annotations

import pytest
from made_up import make_definition

from episodes.benchmarks import Lists, seen_classes, shared_sources
from episodes.benchmarks.definitions import Dataset
from episodes.benchmarks.leaks import clips_per_source, source_of


@pytest.mark.parametrize(
    ("video", "class_name", "dataset", "source"),
    [
        ("-kYzxMKp514_000086_000096", "blasting sand", "kinetics", "-kYzxMKp514"),
        ("v_YoYo_g07_c02", "YoYo", "ucf101", "YoYo/g07"),
        ("50_FIRST_DATES_kick_ball_f_cm_np1_ba_med_19", "kick_ball", "hmdb51", "50_FIRST_DATES"),
        ("something_else", "kick_ball", "hmdb51", None),
        ("78687", "Closing something", "ssv2", None),
    ],
)
def test_sources(video: str, class_name: str, dataset: Dataset, source: str | None) -> None:
    assert source_of(video, class_name, dataset) == source


def test_classes_that_were_trained_on_however_they_are_spelt() -> None:
    trained = ["Closing [something]", "draw_sword", "Blow DryHair"]
    tested = ["Closing something", "draw sword", "Opening something", "Blow Dry Hair"]
    assert seen_classes(trained, tested) == ["Closing something", "draw sword", "Blow Dry Hair"]


def test_shared_sources_and_clips_per_source() -> None:
    classes = {"train": ("wave",), "val": ("golf",), "test": ("sit",)}
    videos = {
        "train": ((0, "film_wave_u_0"), (0, "film_wave_u_1"), (0, "own_wave_u_0")),
        "val": ((0, "other_golf_u_0"),),
        "test": ((0, "film_sit_u_0"), (0, "alone_sit_u_0")),
    }
    lists = Lists(make_definition("hmdb51"), classes, videos)
    (shared,) = shared_sources(lists)
    assert (shared.splits, shared.sources, shared.videos) == (("train", "test"), ("film",), (2, 1))
    assert clips_per_source(lists, "train") == 1.5
    assert clips_per_source(lists, "test") == 1
