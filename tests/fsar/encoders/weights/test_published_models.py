"""Models in one folder or repository, as open_clip publishes them; nothing is asked of the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fsar.encoders import ClipEncoder
from fsar.encoders.weights.architecture import read_published


def publish(folder: Path, network: nn.Module, **pixels: Any) -> Path:
    """``network`` as open_clip's ``save_for_hf`` lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": open_clip.get_model_config("test-vit") | {"init_logit_scale": 1.0}, "preprocess_cfg": pixels}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", network)


def test_a_folder_is_taken_as_open_clip_takes_it(network: nn.Module, tmp_path: Path) -> None:
    name = f"local-dir:{publish(tmp_path / 'mine', network, mean=[0.4, 0.5, 0.6], std=[0.2] * 3)}"
    encoder = ClipEncoder(name, None)
    theirs, transform = open_clip.create_model_from_pretrained(name)
    clip = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = theirs.eval().encode_image(torch.stack([transform.transforms[-1](frame / 255) for frame in clip]))
        text = theirs.encode_text(open_clip.get_tokenizer(name)(["a photo of a cat"]))
    torch.testing.assert_close(encoder(clip), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(encoder.require_text()(["a cat"]), text, rtol=0, atol=1e-4)
    assert encoder.mean == pytest.approx((0.4, 0.5, 0.6))


def test_a_repository_is_read_from_the_cache(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"config.json is not in the .* cache. Set download .*local-dir"):
        ClipEncoder("hf-hub:me/mine", None)
    repository = tmp_path / "models--me--mine"
    publish(repository / "snapshots" / "abc", network)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    found = read_published("hf-hub:me/mine")
    assert found is not None
    assert found.weights.parent.name == "abc"
    encoder = ClipEncoder("hf-hub:me/mine", None)
    assert torch.equal(encoder.visual.proj, network.state_dict()["visual.proj"])
    found.weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"open_clip_model.safetensors is not in the"):
        ClipEncoder("hf-hub:me/mine", None)


def test_what_is_missing_or_wrong_is_said(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no open_clip_config.json. Give a folder"):
        ClipEncoder(f"local-dir:{tmp_path}", None)
    folder = publish(tmp_path / "mine", network)
    with pytest.raises(ValueError, match="brings its own weights: set pretrained to null, found 'openai'"):
        ClipEncoder(f"local-dir:{folder}", "openai")
    with pytest.raises(ValueError, match=r"quick_gelu=True contradicts"):
        ClipEncoder(f"local-dir:{folder}", None, quick_gelu=True)
    for content, message in (("{", "no config of open_clip"), ('{"model_cfg": {"embed_dim": 3}}', "needs the keys")):
        (folder / "open_clip_config.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            ClipEncoder(f"local-dir:{folder}", None)
