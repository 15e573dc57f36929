"""Which names in a configuration are parts of this library, and which are code of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fsar.sharing.published_config import foreign_classes, is_trusted, needed

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "name",
    [
        "subprocess.Popen",
        "os.system",
        "builtins.eval",
        "fsar.encoders.weights.pickle.Unpickler",  # begins like one of ours
        "fsar.text.bank.yaml.unsafe_load",
        "fsar.commands.train.fit.CLI",  # ours, but it would start a fit of any configuration
        "fsar.methods.clip_fsar",  # a module
        "fsar.sharing.published_config.open",
        "torch.nn.functional.relu",  # no class
        "torch.load",
        "lightning.pytorch.Trainer",
        "fsar.alignment.NoSuchMetric",
        "__main__.Anything",
    ],
)
def test_it_is_not_enough_to_look_like_a_part(name: str) -> None:
    assert foreign_classes({"model": {"class_path": name}}) == {"model.class_path": name}


def test_every_configuration_of_ours_names_trusted_parts_only() -> None:
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    named = 0
    for file in files:
        content = yaml.safe_load(file.read_text()) or {}
        model, data = content.get("model") or {}, content.get("data") or {}
        if "method" in model:
            named += 1
            assert foreign_classes(needed({"model": model, "data": data})) == {}, file
    assert named > 10
    assert is_trusted("torch.nn.Linear")
    assert all(
        is_trusted(f"{module}.{name}") for module, name in (("fsar.alignment", "OTAM"), ("fsar.text", "TextBank"))
    )


def test_plain_strings_are_no_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    words = ["fp32", "ViT-B-16", "a photo of {}", "resnet50.a1_in1k", "weights.pt", "2024-13-45", "e.g. {}", "no", ""]
    assert foreign_classes({"templates": words, "model": "resnet50.a1_in1k"}) == {}
