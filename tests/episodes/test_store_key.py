"""What a store says when it does not fit."""

from __future__ import annotations

from episodes.features.key import differences


def test_the_fields_of_an_encoder_that_differ_are_named() -> None:
    clip = {"name": "ViT-B-16 openai", "mean": [0.5], "std": [0.25], "sha256": "a" * 64}
    network = {**clip, "mean": [0.4], "sha256": "b" * 64}
    assert differences({"encoder": clip}, {"encoder": network}) == ["encoder mean: stored [0.5], asked for [0.4]"]
    (line,) = differences({"encoder": clip}, {"encoder": {**clip, "sha256": "b" * 64}})
    assert line == "encoder weights or their precision (hash): stored aaaaaaaaaaaa, asked for bbbbbbbbbbbb"
