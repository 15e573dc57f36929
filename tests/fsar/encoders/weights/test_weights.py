"""Weight files: every format gives the same features, strictly, with the right activation, or a clear refusal."""

from __future__ import annotations

import copy
import os
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fsar.encoders import ClipEncoder
from fsar.encoders.weights.load import load_clip
from fsar.encoders.weights.state import refuse_nan

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip() -> Tensor:
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)


def expected(network: nn.Module, frames: Tensor) -> Tensor:
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))
    with torch.no_grad():
        return network.encode_image((frames / 255 - mean) / std)


def openai_archive(network: nn.Module, path: Path) -> None:
    """TorchScript with the three numbers that OpenAI's archives carry."""
    network = copy.deepcopy(network)
    del network.attn_mask  # the text tower's constant, which OpenAI's archives do not store
    for name, value in (("input_resolution", 32), ("context_length", 24), ("vocab_size", 49408)):
        if hasattr(network, name):
            delattr(network, name)
        network.register_buffer(name, torch.tensor(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(
            torch.jit.trace_module(network, {"encode_image": torch.zeros(1, 3, 32, 32)}, check_trace=False), path
        )


@pytest.mark.parametrize("kind", ["plain.pt", "plain.bin", "plain.safetensors", "training.pt", "custom.pt", "half.pt"])
def test_every_format_gives_open_clips_features(network: nn.Module, tmp_path: Path, kind: str) -> None:
    path, state = tmp_path / kind, network.state_dict()
    if kind == "plain.safetensors":
        save_file(state, path)
    elif kind == "training.pt":
        torch.save({"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    elif kind == "custom.pt":
        torch.save(open_clip.model.convert_to_custom_text_state_dict(state), path)
    elif kind == "half.pt":
        network.half().float()
        torch.save({key: value.half() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    encoder = ClipEncoder("test-vit", str(path), quick_gelu=False)
    frames = clip()
    torch.testing.assert_close(encoder(frames), expected(network, frames), rtol=0, atol=1e-6)
    tokens = open_clip.get_tokenizer("test-vit")(["a photo of walking the dog"])
    with torch.no_grad():
        text = network.encode_text(tokens)
    torch.testing.assert_close(encoder.require_text()(["walking the dog"]), text, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", ["test-vit", "test-vit-quickgelu"])
def test_openai_archive_gets_quick_gelu_on_either_config(network: nn.Module, tmp_path: Path, model: str) -> None:
    path = tmp_path / "openai.pt"
    openai_archive(network, path)
    quick = open_clip.CLIP(**open_clip.get_model_config("test-vit-quickgelu")).eval()
    quick.load_state_dict(network.state_dict())
    frames = clip()
    right, wrong = expected(quick, frames), expected(network, frames)
    assert (right - wrong).abs().max() > 1e-3, "the two activations must differ for this test to say anything"
    encoder = ClipEncoder(model, str(path))
    torch.testing.assert_close(encoder(frames), right, rtol=0, atol=1e-6)
    assert "QuickGELU" in encoder.identity
    with pytest.raises(ValueError, match=r"quick_gelu=False contradicts .* trained with QuickGELU"):
        ClipEncoder(model, str(path), quick_gelu=False)


def test_openai_state_dict_is_known_by_its_numbers(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "openai.pt"
    torch.save({**network.state_dict(), "input_resolution": torch.tensor(32)}, path)
    assert load_clip("test-vit", str(path)).quick_gelu


def test_activation_must_be_told_where_the_file_and_the_model_leave_it_open(weights: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not say with which activation .* set quick_gelu to true"):
        load_clip("test-vit", weights)
    assert load_clip("test-vit", weights, quick_gelu=True).quick_gelu
    assert not load_clip("test-vit", weights, quick_gelu=False).quick_gelu
    assert load_clip("test-vit-quickgelu", weights).quick_gelu
    path = tmp_path / "one.pt"
    torch.save(open_clip.CLIP(**open_clip.get_model_config("test-plain")).state_dict(), path)
    assert not load_clip("test-plain", str(path)).quick_gelu


def test_tag_chooses_the_activation(monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    tag = {"hf_hub": "x/y/", "mean": MEAN, "std": STD, "quick_gelu": True}
    monkeypatch.setattr("fsar.encoders.weights.load.get_pretrained_cfg", lambda name, pretrained: tag)
    monkeypatch.setattr("fsar.encoders.weights.load.try_to_load_from_cache", lambda repository, file: weights)
    assert load_clip("test-vit", "openai").quick_gelu
    with pytest.raises(ValueError, match="contradicts"):
        load_clip("test-vit", "openai", quick_gelu=False)


def test_missing_unexpected_and_reshaped_tensors_are_named(network: nn.Module, tmp_path: Path) -> None:
    state = network.state_dict()
    del state["visual.ln_post.bias"]
    state["visual.proj3"] = torch.zeros(1)
    state["visual.proj"] = torch.zeros(64, 7)
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="does not fit") as error:
        load_clip("test-vit", str(tmp_path / "bad.pt"), quick_gelu=False)
    for part in ("1 missing: visual.ln_post.bias", "1 unexpected: visual.proj3", "file (64, 7), model (64, 48)"):
        assert part in str(error.value)


def test_the_architecture_that_the_shapes_point_to_is_named(tmp_path: Path) -> None:
    for name, other in (("test-resnet", "test-vit"), ("test-vit", "test-resnet")):
        path = tmp_path / f"{name}.pt"
        torch.save(open_clip.CLIP(**open_clip.get_model_config(name)).state_dict(), path)
        with pytest.raises(ValueError, match=rf"Its shapes \(.*\) are those of {name}"):
            load_clip(other, str(path), quick_gelu=False)


class _Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("false",)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": _Payload()}, tmp_path / "code.pt")
    torch.save({"epoch": 1}, tmp_path / "numbers.pt")
    (tmp_path / "text.pt").write_text("version https://git-lfs.github.com/spec/v1")
    (tmp_path / "cut.safetensors").write_bytes(b"12")
    for name, message in (
        ("code.pt", "cannot be read as weights"),
        ("numbers.pt", "holds no state dict"),
        ("text.pt", "cannot be read as weights"),
        ("cut.safetensors", "cannot be read as weights"),
    ):
        with pytest.raises(ValueError, match=f"{name} {message}"):
            load_clip("test-plain", str(tmp_path / name))


def test_weights_that_are_no_numbers_are_refused(network: nn.Module, tmp_path: Path) -> None:
    state = network.state_dict()
    state["ln_final.bias"][3] = torch.nan
    state["visual.proj"][0, 0] = -torch.inf
    torch.save(state, tmp_path / "diverged.pt")
    with pytest.raises(ValueError, match=r"diverged.pt holds NaN or infinity in 2 tensors: .*visual.proj"):
        load_clip("test-vit", str(tmp_path / "diverged.pt"), quick_gelu=False)
    masks = {"attn_mask": torch.full((2, 2), -torch.inf), "wide": torch.tensor([6e4, -6e4]).half()}
    refuse_nan({**masks, "none": torch.empty(0), "whole": torch.ones(2, dtype=torch.int64)}, "these")


def test_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean ViT-B-16"):
        load_clip("ViT-B-16x", None)
    with pytest.raises(ValueError, match="Did you mean ViT-B-16 or"):
        load_clip("vit-b-16", None)
    with pytest.raises(ValueError, match="ImageEncoder, model='resnet18', library='timm'"):
        load_clip("timm:resnet18", None)
    with pytest.raises(
        FileNotFoundError, match=r"neither a file nor a tag of RN50, whose tags are: openai.*mean 'openai'"
    ):
        load_clip("RN50", "openia")


def test_a_tag_that_is_not_cached_is_one_error_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("fsar.encoders.weights.load.try_to_load_from_cache", lambda repository, file: None)
    monkeypatch.setattr("socket.socket.connect", network)
    monkeypatch.setattr("socket.getaddrinfo", network)
    with pytest.raises(
        FileNotFoundError,
        match=r"'openai' of RN50 are not in the .*get RN50:openai.* to true.* copy open_clip_model\.saf.* of timm/",
    ):
        load_clip("RN50", "openai")
    with pytest.raises(FileNotFoundError, match="`fsar weights get base` fetches them"):
        load_clip("ViT-B-16", "openai")
    with pytest.raises(FileNotFoundError, match=r"text tower of roberta-ViT-B-32 is 'roberta-base'"):
        load_clip("roberta-ViT-B-32", None)


def test_the_packages_own_model_is_known() -> None:
    assert load_clip("fsar-tiny", None).image_size == 64


def test_pixel_statistics_are_the_familys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsar.encoders.weights.load._build", lambda *args: open_clip.CustomTextCLIP(**_plain()))
    assert load_clip("ViT-B-16-SigLIP", None).mean == (0.5, 0.5, 0.5)
    assert load_clip("MobileCLIP-S1", None).std == (1.0, 1.0, 1.0)
    assert load_clip("ViT-L-14", None).mean == load_clip("test-vit", None).mean == MEAN


def _plain() -> dict[str, object]:
    return dict(open_clip.get_model_config("test-plain"))
