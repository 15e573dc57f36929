"""Every configuration parses. Those on the toy CLIP are run by tests/configs/test_tiny.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsar.build import make_parser, parse_options

CONFIGS = Path(__file__).parents[3] / "configs" / "method"
NAMES = ["ma_clip", "action_clip", "aim", "st_adapter", "lora", "evl", "d2st", "ts_fsar"]


@pytest.mark.parametrize("name", NAMES)
def test_as_published_parses_and_names_its_own_trained_parts(name: str) -> None:
    config = parse_options(make_parser(None, ["model"]), ["-c", str(CONFIGS / f"{name}.yaml")])
    options = config.model.method.init_args
    encoder = options.encoder.init_args.encoder if "encoder" in options.encoder.init_args else options.encoder
    assert encoder.init_args.model == "ViT-B-16"
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# ")
