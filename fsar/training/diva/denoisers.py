"""Diffusion models that can say what a visual tower does not tell: any class by its path, and Stable Diffusion's files.

What :class:`fsar.training.DiffusionFeedback` is trained against, frozen.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fsar.terminal.files.aliases import rename_classes

PARTS = ("encode", "null_text", "kept")


class DiffusionModel(Protocol):
    """A denoiser with the latent space that it lives in; a module's weights stay as they are."""

    null_text: Tensor
    """``(l e)``, the condition of an empty text."""

    kept: Tensor
    """Share of the signal ᾱ that each step keeps, falling."""

    def encode(self, frames: Tensor) -> Tensor:
        """RGB ``(b 3 h w)`` in 0..1 -> latents ``(b *latent)``."""

    def __call__(self, latent: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """``(b *latent)``, ``(b)`` and ``(b l e)`` -> the noise in the latents."""


def make_model(class_path: str, options: Mapping[str, Any]) -> DiffusionModel:
    """The diffusion model of that class.

    Args:
        class_path: such as ``fsar.training.diva.StableDiffusion``, or a module of your own in this folder.
        options: its arguments.

    Raises:
        ValueError: no such class, arguments that it does not take, or one that is no :class:`DiffusionModel`.
    """
    module, _, name = rename_classes(class_path).rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"--denoiser {class_path}: there is no such class ({error}). Give module.Class, of a package or of a file "
            "in this folder; Stable Diffusion's files are read by fsar.training.diva.StableDiffusion."
        ) from error
    try:
        model: DiffusionModel = kind(**options)
    except TypeError as error:
        raise ValueError(f"--denoiser-options do not fit {class_path}: {error}") from error
    if lacking := [part for part in PARTS if not hasattr(model, part)]:
        raise ValueError(
            f"{class_path} lacks {' and '.join(lacking)}: a diffusion model has encode(frames) -> latents, null_text "
            "(l e) and kept (steps), and is called with (latents, steps, condition). See docs/senses.md."
        )
    return model


class StableDiffusion(nn.Module):
    """Stable Diffusion from a folder in the layout of the library diffusers; nothing is downloaded.

    Args:
        folder: with ``unet``, ``vae``, ``text_encoder``, ``tokenizer`` and ``scheduler``.
        size: side of the pictures that the VAE reads, pixels; the U-Net's own when not given.
        scale: factor of the latents, .18215 as released; the VAE's own when not given.

    Raises:
        ImportError: without the extra ``diffusion``.
        FileNotFoundError: ``folder`` is none.
        ValueError: a model that does not predict the noise.
    """

    null_text: Tensor
    kept: Tensor

    def __init__(self, folder: str, size: int | None = None, scale: float | None = None) -> None:
        super().__init__()
        try:
            from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
            from transformers import AutoTokenizer, CLIPTextModel
        except ImportError as error:
            raise ImportError(
                f"Stable Diffusion is read by diffusers and transformers, which are not here ({error}): "
                "pip install 'fsar[diffusion]'."
            ) from error
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"StableDiffusion: folder={folder!r} is no folder; nothing is downloaded.")
        here: dict[str, Any] = {"local_files_only": True}
        scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler", **here)
        if (kind := scheduler.config.prediction_type) != "epsilon":
            raise ValueError(
                f"{folder} predicts {kind!r}, not the noise ('epsilon'): take another model, such as "
                "Stable Diffusion 2.1 base."
            )
        self.unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", use_safetensors=True, **here)
        self.vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", use_safetensors=True, **here)
        words = AutoTokenizer.from_pretrained(folder, subfolder="tokenizer", **here)
        tower = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", use_safetensors=True, **here)
        empty = words("", padding="max_length", max_length=words.model_max_length, truncation=True, return_tensors="pt")
        with torch.no_grad():
            null = tower.eval()(empty.input_ids)[0][0]
        self.register_buffer("null_text", null, persistent=False)
        self.register_buffer("kept", scheduler.alphas_cumprod.clone(), persistent=False)
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.size = size or self.unet.config.sample_size * factor
        self.scale = scale or self.vae.config.scaling_factor
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """See :meth:`DiffusionModel.encode`; the mean of the posterior, as released."""
        side = (self.size, self.size)
        pixels = nn.functional.interpolate(frames, side, mode="bicubic", antialias=True).clamp(0, 1)
        latent: Tensor = self.vae.encode(2 * pixels - 1).latent_dist.mean * self.scale
        return latent

    def forward(self, latent: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """See :meth:`DiffusionModel.__call__`."""
        noise: Tensor = self.unet(latent, steps, encoder_hidden_states=condition).sample
        return noise
