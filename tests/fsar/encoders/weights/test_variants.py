"""Files that other systems made of CLIP, built with their names from one tower of known output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fsar.encoders.clip import ClipEncoder
from fsar.encoders.weights.variants import recognise

State = dict[str, Tensor]
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "tiny-variant.json"
    path.write_text(json.dumps(CONFIG))
    return str(path)


@pytest.fixture
def plain(model: str) -> State:
    """A state dict under OpenAI's names."""
    encoder = ClipEncoder(model, None)
    assert encoder.text is not None
    state = {f"visual.{key}": x for key, x in encoder.visual.state_dict().items()}
    text = {key: x for key, x in encoder.text.tower.state_dict().items() if key != "attn_mask"}
    return {**state, **text, "logit_scale": torch.tensor(2.0)}


def _hugging_face(state: State) -> State:
    """OpenAI's names to those of transformers."""
    found: State = {}
    for key, value in state.items():
        tower = "vision_model" if key.startswith("visual.") else "text_model"
        name = key.removeprefix("visual.").replace("transformer.resblocks", "encoder.layers")
        for ours, theirs in (
            (".attn.out_proj", ".self_attn.out_proj"),
            (".ln_1", ".layer_norm1"),
            (".ln_2", ".layer_norm2"),
            (".mlp.c_fc", ".mlp.fc1"),
            (".mlp.c_proj", ".mlp.fc2"),
        ):
            name = name.replace(ours, theirs)
        if ".attn.in_proj_" in name:
            block, kind = name.split(".attn.in_proj_")
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                found[f"{tower}.{block}.self_attn.{part}_proj.{kind}"] = piece.clone()
            continue
        whole = {
            "class_embedding": "embeddings.class_embedding",
            "positional_embedding": "embeddings.position_embedding.weight",
            "conv1.weight": "embeddings.patch_embedding.weight",
            "token_embedding.weight": "embeddings.token_embedding.weight",
        }
        for ours, theirs in (
            ("ln_pre", "pre_layrnorm"),
            ("ln_post", "post_layernorm"),
            ("ln_final", "final_layer_norm"),
        ):
            name = name.replace(ours, theirs)
        if key in ("visual.proj", "text_projection"):
            found["visual_projection.weight" if key == "visual.proj" else "text_projection.weight"] = (
                value.mT.contiguous()
            )
        elif key == "logit_scale":
            found[key] = value
        else:
            found[f"{tower}.{whole.get(name, name)}"] = value
    return found


def _same(model: str, path: Path, expected: ClipEncoder, text: bool = True, **options: object) -> None:
    encoder = ClipEncoder(model, str(path), **options)  # type: ignore[arg-type]
    clips = torch.randint(256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(encoder(clips), expected(clips), atol=1e-6, rtol=1e-6)
    assert (encoder.text is not None) == text
    if encoder.text is not None and expected.text is not None:
        torch.testing.assert_close(encoder.text(["walking"]), expected.text(["walking"]), atol=1e-6, rtol=1e-6)


@pytest.fixture
def expected(model: str, plain: State, tmp_path: Path) -> Callable[[bool], ClipEncoder]:
    def load(quick: bool) -> ClipEncoder:
        torch.save(plain, tmp_path / "plain.pt")
        return ClipEncoder(model, str(tmp_path / "plain.pt"), quick_gelu=quick)

    return load


def test_hugging_face(model: str, plain: State, tmp_path: Path, expected: Callable[[bool], ClipEncoder]) -> None:
    save_file({k: x.contiguous() for k, x in _hugging_face(plain).items()}, tmp_path / "model.safetensors")
    _same(model, tmp_path / "model.safetensors", expected(True), quick_gelu=True)


def test_hugging_face_gives_what_transformers_gives(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra video brings transformers")
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    text = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**text, "hidden_act": "quick_gelu"},
        vision_config={**vision, "image_size": 32, "patch_size": 16, "hidden_act": "quick_gelu"},
        projection_dim=24,
    )
    theirs = transformers.CLIPModel(config).eval()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "tiny-variant.json").write_text(json.dumps(CONFIG))
    ours = ClipEncoder(str(tmp_path / "tiny-variant.json"), str(tmp_path / "pytorch_model.bin"), quick_gelu=True)
    frames = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        wanted = theirs.get_image_features(pixel_values=ours.normalise(frames))
        wanted = getattr(wanted, "pooler_output", wanted)
        torch.testing.assert_close(ours(frames[None])[0], wanted, atol=1e-5, rtol=1e-4)


def test_veclip_gives_its_image_tower_alone(
    model: str, plain: State, tmp_path: Path, expected: Callable[[bool], ClipEncoder]
) -> None:
    state = {k: x for k, x in _hugging_face(plain).items() if not k.startswith("text_")}
    torch.save({**state, "text_model.encoder.block.0.weight": torch.rand(3)}, tmp_path / "veclip.pt")
    _same(model, tmp_path / "veclip.pt", expected(False), text=False, quick_gelu=False)


def test_diva_trained_again(model: str, plain: State, tmp_path: Path, expected: Callable[[bool], ClipEncoder]) -> None:
    state = {f"class_model.model.{key}": x for key, x in plain.items()}
    extra = {
        "class_model.final_fc.weight": torch.rand(2, 2),
        "model.unet.conv.weight": torch.rand(2),
        "vae.x": torch.rand(1),
    }
    torch.save({**state, **extra}, tmp_path / "diva.pt")
    _same(model, tmp_path / "diva.pt", expected(True), quick_gelu=True)
    assert set(recognise({**state, **extra}, "x").dropped) == {"class_model.", "model.", "vae."}


def test_audioclip(model: str, plain: State, tmp_path: Path, expected: Callable[[bool], ClipEncoder]) -> None:
    extra = {"audio.conv1.weight": torch.rand(2), "logit_scale_ai": torch.rand(()), "logit_scale_at": torch.rand(())}
    torch.save({**plain, **extra}, tmp_path / "audioclip.pt")
    _same(model, tmp_path / "audioclip.pt", expected(True))  # the file settles the activation
    with pytest.raises(ValueError, match="quick_gelu=False contradicts"):
        ClipEncoder(model, str(tmp_path / "audioclip.pt"), quick_gelu=False)


def test_dreamlip(model: str, plain: State, tmp_path: Path, expected: Callable[[bool], ClipEncoder]) -> None:
    wrapped = {f"module.{key}": x for key, x in {**plain, "visual.proj2": torch.rand(64, 24)}.items()}
    torch.save({"epoch": 3, "name": "dreamlip", "state_dict": wrapped}, tmp_path / "dreamlip.pt")
    _same(model, tmp_path / "dreamlip.pt", expected(False))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["img_encoder.layers.0.weight", "text_encoder.x"], "GroupViT, which cannot be taken.*TokenGrouping"),
        (["backbone.body.x", "rpn.head.y"], "GLIP, which cannot be taken.*GatedCrossAttention"),
        (["vision_model.post_layernorm.weight", "qa_outputs.weight"], "holds 'qa_outputs.weight'"),
    ],
)
def test_what_is_no_clip_is_refused_with_the_reason(model: str, tmp_path: Path, names: list[str], said: str) -> None:
    torch.save({name: torch.rand(2) for name in names}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=said):
        ClipEncoder(model, str(tmp_path / "other.pt"))


def test_half_an_attention_is_named(plain: State) -> None:
    state = _hugging_face(plain)
    del state["vision_model.encoder.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(ValueError, match=r"file lacks visual.transformer.resblocks.1.self_attn.k_proj.bias"):
        recognise(state, "file")
