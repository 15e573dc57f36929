"""Stable Diffusion's files, here of a tiny model with random weights, as the frozen side of diffusion feedback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fsar.training import DiffusionFeedback
from fsar.training.diva.denoisers import StableDiffusion


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    diffusers = pytest.importorskip("diffusers", reason="needs the extra diffusion")
    transformers = pytest.importorskip("transformers", reason="needs the extra diffusion")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4),
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=4,
            hidden_size=12,
            intermediate_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=5,
            bos_token_id=2,
            eos_token_id=3,
        )
    )
    for name, part in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        part.save_pretrained(tmp_path / name)
    diffusers.DDPMScheduler(num_train_timesteps=20).save_pretrained(tmp_path / "scheduler")
    words = tmp_path / "tokenizer"
    words.mkdir()
    ends = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "</s>"}
    (words / "vocab.json").write_text(json.dumps({"a": 0, "b</w>": 1, "<s>": 2, "</s>": 3}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 5, **ends}
    (words / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # of diffusers and transformers, about each other
def test_files_of_stable_diffusion_serve_as_the_denoiser(folder: Path) -> None:
    model = StableDiffusion(str(folder))
    assert model.null_text.shape == (5, 12)
    assert model.kept.shape == (20,)
    latent = model.encode(torch.rand(2, 3, 10, 10))
    assert latent.shape == (2, 4, 8, 8)
    feedback = DiffusionFeedback(model, model.null_text, 6, model.kept, replacement=True, mean_null=True)
    patches = torch.randn(2, 9, 6, requires_grad=True)
    feedback(latent, torch.randn(2, 6), patches, None, torch.Generator().manual_seed(0))["loss"].backward()
    assert patches.grad is not None
    assert all(not weight.requires_grad for weight in model.parameters())
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("epsilon", "v_prediction"))
    with pytest.raises(ValueError, match="predicts 'v_prediction', not the noise"):
        StableDiffusion(str(folder))


def test_a_folder_that_is_not_there() -> None:
    pytest.importorskip("diffusers", reason="needs the extra diffusion")
    with pytest.raises(FileNotFoundError, match="is no folder; nothing is downloaded"):
        StableDiffusion("nowhere")
