"""Configurations and metadata of others that are too much, or too little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from fsar.sharing.published_config import foreign_classes
from fsar.sharing.run import open_run, read_config, read_weights
from fsar.terminal.files.bounds import BYTES, check_bounds
from fsar.terminal.files.config_files import check_files

FACTS = {"fsar_method": "ClipFSAR", "frozen_weights_sha256": "ab12", "trained_classes": ["waving", "jumping"]}
LINES = [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, 30)]
BOMB = "x0: &x0 [lol, lol]\n" + "\n".join(LINES)
MERGES = "x0: &x0 {a: 1}\n" + "\n".join(line.replace("[", "{<<: [").replace("]", "]}") for line in LINES)
TOO_MUCH = {
    "aliases": (BOMB, "stands for more than 50,000 values"),
    "merged mappings": (MERGES, "stands for more than 50,000 values"),
    "deep lists": ("a: " + "[" * 20_000, "levels deep"),
    "deep mappings": ("\n".join(f"{' ' * i}a:" for i in range(300)), "levels deep"),
    "deep by aliases": ("\n".join(f"x{i}: &x{i} [*x{i - 1}]" for i in range(1, 99)).replace("*x0", "1"), "levels deep"),
    "a list in itself": ("a: &a [*a]", r"\*a stands within itself"),
    "long": (f"a: {'b' * BYTES}", "at most"),
}


@pytest.mark.parametrize(("text", "message"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_configuration_that_is_too_much_is_one_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(path)


@pytest.mark.parametrize("text", [BOMB, "a: " + "[" * 20_000])
def test_so_is_that_of_a_run_folder_and_a_file_of_options(text: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml (stands for more|is more than)"):
        check_files(["test", "-c", str(config)])
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": {}}, tmp_path / "checkpoints" / "best.ckpt")
    with pytest.raises(ValueError, match=r"config\.yaml (stands for more|is more than)"):
        open_run(tmp_path)


@pytest.mark.parametrize("text", [BOMB, "[" * 20_000])
def test_so_is_one_in_a_string(text: str) -> None:
    with pytest.raises(ValueError, match=r"the text of model\.method"):
        foreign_classes({"model": {"method": text}})


def test_strings_in_strings_end_somewhere() -> None:
    text = "a.b"
    for _ in range(9):
        text = json.dumps({"a": text})
    with pytest.raises(ValueError, match="YAML in strings"):
        foreign_classes({"a": text})


def test_aliases_that_save_writing_are_fine() -> None:
    check_bounds("a: &a [1, 2]\nb: *a\nc: {<<: {d: *a}}", "here")
    check_bounds(yaml.safe_dump({f"class_{i}": {"a": [i, {"b": str(i)}]} for i in range(500)}), "here")


NULL: list[Any] = [None, [], 3, {"a": 1}, ""]


@pytest.mark.parametrize("key", FACTS)
@pytest.mark.parametrize("value", NULL)
def test_metadata_must_say_what_the_weights_belong_to(key: str, value: Any, tmp_path: Path) -> None:
    if key == "trained_classes" and value == []:
        value = [None]
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1)}, path, {"fsar": json.dumps({**FACTS, key: value})})
    with pytest.raises(ValueError, match=f"does not say {key} in its metadata"):
        read_weights(path)


@pytest.mark.parametrize("facts", ["null", "[]", "3", "[" * 100_000])
def test_metadata_that_is_no_mapping_is_refused(facts: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1)}, path, {"fsar": facts})
    with pytest.raises(ValueError, match=r"metadata|cannot be read as published weights"):
        read_weights(path)
