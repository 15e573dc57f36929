"""What a report says of a result that owes nothing to support clips."""

from __future__ import annotations

from typing import Any

import pytest

from fsar.evaluation.said import floor_template, names_alone, template


@pytest.mark.parametrize(
    ("method", "inference", "alone"),
    [("ZeroShot", None, True), ("ClipFSAR", "text", True), ("ClipFSAR", "combined", False), ("Prototype", None, False)],
)
def test_which_results_are_by_names_alone(method: str, inference: str | None, alone: bool) -> None:
    assert names_alone({"method": method, "inference": inference}) is alone


def test_the_template_is_found_wherever_it_stands() -> None:
    texts: dict[str, Any] = {"class_path": "TextBank", "init_args": {"templates": ["a video of {}.", "{}"]}}
    encoder = {"class_path": "ClipEncoder", "init_args": {"templates": ["a photo of {}"]}}
    config = {"model": {"method": {"init_args": {"encoder": encoder, "texts": texts}}}}
    assert template({"config": config}) == "“a video of {}.” and 1 more"  # its own, before the encoder's
    texts["init_args"]["templates"] = "photo"
    assert template({"config": config}) == "“photo”"
    assert template({"config": {"model": {"method": {"init_args": {"encoder": encoder}}}}}) == "“a photo of {}”"
    assert template({"config": {"model": {"method": "ZeroShot"}}}) == ""
    assert floor_template({"zero_shot_templates": ["a photo of {}"]}) == "“a photo of {}”"
    assert floor_template({}) == ""  # of a version that did not say
