"""The published templates, letter for letter, and class names."""

from __future__ import annotations

import pytest

from fsar.text import TEMPLATES, clean_name


def test_counts_are_the_published_ones() -> None:
    counts = {name: len(templates) for name, templates in TEMPLATES.items()}
    assert counts == {"photo": 1, "names": 1, "kinetics": 28, "ucf101": 48, "imagenet": 7, "action_clip": 16}
    for templates in TEMPLATES.values():
        assert len(set(templates)) == len(templates)
        assert all(template.count("{}") == 1 for template in templates)


def test_spelling_is_the_published_one() -> None:
    kinetics, ucf = TEMPLATES["kinetics"], TEMPLATES["ucf101"]
    assert {"a photo of {}.", "a example of {}.", "a demonstration of a person practicing {}."} <= set(kinetics)
    assert {"a photo of a person {}.", "a example of the person performing {}."} <= set(ucf)
    assert not any(t.endswith("of {}.") for t in ucf)
    assert sum("the person" in t for t in ucf) == 24
    assert all(t.endswith(".") for t in (*kinetics, *ucf))
    assert "Can you recognize the action of {}?" in TEMPLATES["action_clip"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Pushing [something] onto [something else]"),
        ({"brackets": "stripped"}, "Pushing something onto something else"),
        ({"placeholders": {"something": "an object"}}, "Pushing an object onto [something else]"),
        (
            {"placeholders": {"something": "a cup", "something else": "a plate"}, "brackets": "stripped"},
            "Pushing a cup onto a plate",
        ),
    ],
)
def test_brackets(options: dict, expected: str) -> None:
    assert clean_name("Pushing [something] onto [something else]", **options) == expected


def test_underscores_are_spaces() -> None:
    assert clean_name("brush_hair") == "brush hair"
