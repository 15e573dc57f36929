"""DIVA: a frozen diffusion model says what a visual tower's tokens do not tell about a picture.

Wang et al. 2024, "Diffusion Feedback Helps CLIP See Better", https://arxiv.org/abs/2407.20171; released code
https://github.com/baaivision/DIVA. No label and no text is read. With z the latent of a frame, ε noise, ᾱ the kept
share of the signal at step τ, [cls; patches] the tower's tokens after its closing norm and projection::

    z_τ   = √ᾱ_τ z + √(1 - ᾱ_τ) ε
    cond  = null text + W [cls; patches] + b
    L     = |ε - ε_θ(z_τ, τ, cond)|²          ε_θ frozen: the gradient reaches the tower (its adapters) and W alone
          + anchor · |L2n(new) - L2n(frozen)|₁    ours: without it the space of the text may be lost

Which tokens the diffusion model is told of, as released: OpenAI's ViT-L/14 the class token and 76 patches drawn with
replacement ("drawn"; here without unless ``replacement``); DFN at 378 px a random half; DFN at 224 px and MetaCLIP all;
SigLIP the pooled token and means over runs of patches (:func:`average_runs`). For all but OpenAI's the null text is
averaged over its tokens first (``mean_null``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fsar.objectives.vild import anchor_distance

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(z (b *latent), steps (b) int64, condition (b l e))`` to the predicted noise ``(b *latent)``."""

DRAWN = 76
"""Patches beside the class token, so that both make the 77 tokens of a text."""


def draw_patches(
    count: int, patches: int, wanted: int = DRAWN, replacement: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """``(count wanted)`` numbers of patches, each row drawn by itself; at most all ``patches`` without replacement."""
    if replacement:
        return torch.randint(patches, (count, wanted), generator=generator)
    return torch.rand(count, patches, generator=generator).argsort(-1)[:, : min(wanted, patches)]


def gather_tokens(pooled: Tensor, patches: Tensor, drawn: Tensor) -> Tensor:
    """``pooled (b d)`` and the drawn of ``patches (b p d)``, ``drawn (b m)`` -> ``(b 1+m d)``."""
    chosen = patches.gather(1, drawn[..., None].expand(-1, -1, patches.shape[-1]))
    return torch.cat([pooled.unsqueeze(1), chosen], 1)


def average_runs(pooled: Tensor, patches: Tensor, length: int) -> Tensor:
    """``pooled (b d)`` and the means of runs of ``length`` patches ``(b p d)`` -> ``(b 1+p/length d)``.

    Raises:
        ValueError: when the patches do not fall into whole runs.
    """
    if patches.shape[1] % length:
        raise ValueError(f"{patches.shape[1]} patches do not fall into runs of {length}: choose a divisor.")
    return torch.cat([pooled.unsqueeze(1), patches.unflatten(1, (-1, length)).mean(2)], 1)


def add_noise(latent: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """``√ᾱ z + √(1 - ᾱ) ε`` of ``(b *latent)``, ``kept`` the ᾱ of each, ``(b)``."""
    kept = kept.reshape(-1, *[1] * (latent.dim() - 1)).to(latent.dtype)
    return kept.sqrt() * latent + (1 - kept).sqrt() * noise


def pool_tokens(tokens: Tensor) -> Tensor:
    """Class token and the mean of the patches beside it, added: ``(b 1+m d)`` -> ``(b d)``; what the release
    evaluates for OpenAI's weights, before the length is made 1."""
    return tokens[:, 0] + tokens[:, 1:].mean(1)


class DiffusionFeedback(nn.Module):
    """The loss of DIVA over any denoiser.

    Args:
        denoiser: frozen, see :data:`Denoiser`; a module's weights are switched off and stay as they are to the bit.
        null_text: ``(l e)`` condition of an empty text.
        channels: ``d`` of the tower's tokens.
        kept: ᾱ of each step of the schedule, falling.
        tokens: which patches are told: "drawn", "half" or "all".
        replacement: draw patches with replacement, as released for OpenAI's weights.
        mean_null: average the null text over its tokens and add it to each of the tower's.
        anchor: weight of the distance to the frozen tower; 0 for none, as released.
        loss: "mse" as released, or "l1".

    Raises:
        ValueError: shares ᾱ outside 0..1, or a name that is not among those above.
    """

    null_text: Tensor
    kept: Tensor

    def __init__(
        self,
        denoiser: Denoiser,
        null_text: Tensor,
        channels: int,
        kept: Tensor | Sequence[float],
        tokens: Literal["drawn", "half", "all"] = "drawn",
        replacement: bool = False,
        mean_null: bool = False,
        anchor: float = 0.01,
        loss: Literal["mse", "l1"] = "mse",
    ) -> None:
        super().__init__()
        shares = torch.as_tensor(kept, dtype=torch.float32)
        if shares.dim() != 1 or not len(shares) or bool(((shares < 0) | (shares > 1)).any()):
            raise ValueError(
                f"DiffusionFeedback: kept holds a share in 0..1 for each step, found {tuple(shares.shape)}."
            )
        if tokens not in ("drawn", "half", "all") or loss not in ("mse", "l1"):
            raise ValueError(
                f"DiffusionFeedback: tokens is drawn, half or all and loss mse or l1; found {tokens!r}, {loss!r}."
            )
        if isinstance(denoiser, nn.Module):
            denoiser.requires_grad_(False).eval()
        self.denoiser = denoiser
        self.register_buffer("null_text", null_text.detach().clone(), persistent=False)
        self.register_buffer("kept", shares, persistent=False)
        self.visual_proj = nn.Linear(channels, null_text.shape[-1])
        self.tokens: Literal["drawn", "half", "all"] = tokens
        self.replacement, self.mean_null, self.anchor, self.kind = replacement, mean_null, anchor, loss

    def train(self, mode: bool = True) -> DiffusionFeedback:
        """Training mode for the projection; the denoiser stays in evaluation mode."""
        super().train(mode)
        if isinstance(self.denoiser, nn.Module):
            self.denoiser.eval()
        return self

    def choose(self, pooled: Tensor, patches: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The tokens that the denoiser is told of, ``(b 1+m d)``."""
        b, p, _ = patches.shape
        if self.tokens == "all":
            return torch.cat([pooled.unsqueeze(1), patches], 1)
        wanted = DRAWN if self.tokens == "drawn" else p // 2
        drawn = draw_patches(b, p, wanted, self.replacement, generator).to(patches.device)
        return gather_tokens(pooled, patches, drawn)

    def condition(self, tokens: Tensor) -> Tensor:
        """``(b l d)`` tokens to the denoiser's condition ``(b l e)``."""
        told: Tensor = self.visual_proj(tokens)
        if self.mean_null:
            return self.null_text.mean(0) + told
        if told.shape[1] != len(self.null_text):
            raise ValueError(
                f"DiffusionFeedback: {told.shape[1]} tokens against a null text of {len(self.null_text)}: the tower "
                "has too few patches for it; set mean_null, or replacement, or tokens."
            )
        return self.null_text + told

    def predict(self, latent: Tensor, tokens: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """The noise that the denoiser sees in ``latent (b *latent)`` at ``steps (b)``, told of ``tokens (b l d)``."""
        noised = add_noise(latent, noise, self.kept[steps])
        predicted = self.denoiser(noised, steps, self.condition(tokens))
        if predicted.shape != latent.shape:
            raise ValueError(
                f"the denoiser gave {tuple(predicted.shape)} for latents {tuple(latent.shape)}: it belongs to a latent "
                "of another size."
            )
        return predicted

    def forward(
        self,
        latent: Tensor,
        pooled: Tensor,
        patches: Tensor,
        frozen: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch of frames.

        Args:
            latent: ``(b *latent)`` of the frames, from the diffusion model's own frozen encoder.
            pooled: ``(b d)`` features of the frames.
            patches: ``(b p d)`` of the same pass, after the closing norm and projection.
            frozen: ``(b d)`` features that the tower had before, for the anchor.
            generator: of the drawn patches, steps and noise.

        Returns:
            ``loss``, and in it ``diffusion`` and, with an anchor, ``anchor``.
        """
        steps = torch.randint(len(self.kept), (len(latent),), generator=generator).to(latent.device)
        noise = torch.randn(latent.shape, generator=generator).to(latent)
        predicted = self.predict(latent, self.choose(pooled, patches, generator), steps, noise)
        compare = nn.functional.mse_loss if self.kind == "mse" else nn.functional.l1_loss
        diffusion = compare(predicted, noise)
        if frozen is None or self.anchor == 0:
            return {"loss": diffusion, "diffusion": diffusion}
        anchor = anchor_distance(pooled, frozen)
        return {"loss": diffusion + self.anchor * anchor, "diffusion": diffusion, "anchor": anchor}
