"""Rows that stand side by side say what differs between them."""

from __future__ import annotations

from typing import Any

import pytest

from fsar.evaluation.comparing.apart import tell_apart


def record(**changed: Any) -> dict[str, Any]:
    """A result of a prototype method; ``alignment``, ``encoder``, ``features``, ... are set in its configuration."""
    facts = {"alignment": "fsar.alignment.OTAM", "alignment_args": {}, "model": "ViT-B-16", "features": None}
    facts |= {"prompts": ["a photo of {}"], "checkpoint": None, "weights": "w" * 64, "ways": 5, "data": {}, **changed}
    encoder = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": facts["model"]}}
    alignment = {"class_path": facts["alignment"], "init_args": facts["alignment_args"]}
    arguments = {"encoder": encoder, "alignment": alignment, "prompts": facts["prompts"]}
    return {
        "method": "Prototype",
        "checkpoint": facts["checkpoint"],
        "weights_sha256": facts["weights"],
        "date": facts.get("date", "2026-01-01"),
        "config": {
            "model": {"method": {"class_path": "fsar.methods.Prototype", "init_args": arguments}},
            "data": {
                "features": facts["features"],
                "ways": facts["ways"],
                "num_workers": facts["ways"],
                **facts["data"],
            },
        },
    }


@pytest.mark.parametrize(
    ("changed", "first", "second"),
    [
        ({"model": "RN50"}, "encoder ViT-B-16", "encoder RN50"),
        ({"alignment": "fsar.alignment.DTW"}, "alignment OTAM", "alignment DTW"),
        ({"alignment_args": {"gamma": 0.1}}, "", "alignment.gamma 0.1"),
        ({"features": "stores/a"}, "data.features none", "data.features stores/a"),
        ({"prompts": ["{}"]}, 'prompts ["a photo of {}"]', 'prompts ["{}"]'),
        ({"checkpoint": "/runs/a/checkpoints/best.ckpt"}, "checkpoint none", "checkpoint a/checkpoints/best.ckpt"),
        ({"weights": "v" * 64}, "weights wwwwwwww", "weights vvvvvvvv"),
        ({"date": "2026-01-02"}, "date 2026-01-01", "date 2026-01-02"),
        ({"data": {"test_seed": 5}}, "", "data.test_seed 5"),
        ({"data": {"queries": 3, "test_queries": 4}}, "", "data.queries 3, data.test_queries 4"),
        (
            {"data": {"train_episodes": 9, "episodes_per_batch": 4}},
            "",
            "data.train_episodes 9, data.episodes_per_batch 4",
        ),
        ({"data": {"test_transform": {"class_path": "a.Crop"}}}, "", "data.test_transform Crop"),
        ({"data": {"test_episodes": 9, "video_batch": 4, "cache": False, "test_ways": 3}}, "", ""),
        ({"ways": 10}, "", ""),  # has a column of its own
    ],
)
def test_what_differs_is_said(changed: dict[str, Any], first: str, second: str) -> None:
    assert tell_apart([record(), record(**changed)]) == [first, second]


def test_equal_rows_beside_another_are_told_apart_too() -> None:
    found = tell_apart([record(), record(date="2026-01-02"), record(model="RN50", weights="v" * 64)])
    assert found == ["encoder ViT-B-16, date 2026-01-01", "encoder ViT-B-16, date 2026-01-02", "encoder RN50"]


def test_an_option_of_another_class_is_no_difference_of_its_own() -> None:
    own = record(alignment_args={"gamma": 0.1})
    other = record(alignment="fsar.alignment.FrameMean", alignment_args={"centre": True})
    assert tell_apart([own, other]) == ["alignment OTAM", "alignment FrameMean"]


def test_one_row_and_rows_of_old_records_are_no_error() -> None:
    assert tell_apart([record()]) == [""]
    assert tell_apart([{"method": "A"}, {"method": "B"}]) == ["method A", "method B"]
