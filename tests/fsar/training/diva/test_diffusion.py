"""Diffusion feedback against the released steps with a toy denoiser, and what the loss may and may not move."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fsar.training.diva.diffusion import (
    DiffusionFeedback,
    add_noise,
    average_runs,
    draw_patches,
    gather_tokens,
    pool_tokens,
)

Reference = Callable[..., dict[str, Tensor]]


class Denoiser(nn.Module):
    """``z / 2 + W mean(condition)``."""

    def __init__(self, inside: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, channels)

    def forward(self, z: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        return 0.5 * z + self.linear(condition.mean(1))[:, :, None, None]


def test_condition_noise_and_loss_as_released(reference: Reference) -> None:
    arrays = reference("diva_condition")
    states = nn.functional.layer_norm(
        arrays["block_output"], arrays["ln_post.weight"].shape, arrays["ln_post.weight"], arrays["ln_post.bias"]
    )
    projected = states @ arrays["proj"]
    tokens = gather_tokens(projected[:, 0], projected[:, 1:], arrays["drawn_patches"])
    torch.testing.assert_close(tokens, arrays["tokens"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pool_tokens(tokens), arrays["pooled_eval"], atol=1e-5, rtol=1e-5)
    kept = torch.zeros(int(arrays["timesteps"].max()) + 1)
    kept[arrays["timesteps"]] = arrays["alphas_cumprod_at_t"]
    denoiser = Denoiser(12, 4)
    denoiser.linear.load_state_dict({name: arrays[f"w.denoiser.{name}"] for name in ("weight", "bias")})
    for mean_null, key in ((False, "condition_openai"), (True, "condition_mean_null")):
        part = DiffusionFeedback(denoiser, arrays["null_text"][0], 8, kept, mean_null=mean_null)
        part.visual_proj.load_state_dict({name: arrays[f"w.visual_proj.{name}"] for name in ("weight", "bias")})
        torch.testing.assert_close(part.condition(tokens), arrays[key], atol=1e-5, rtol=1e-5)
        if not mean_null:
            predicted = part.predict(arrays["latent"], tokens, arrays["timesteps"], arrays["noise"])
            torch.testing.assert_close(predicted, arrays["predicted_noise"], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(nn.functional.mse_loss(predicted, arrays["noise"]), arrays["mse"])
    noised = add_noise(arrays["latent"], arrays["noise"], arrays["alphas_cumprod_at_t"])
    torch.testing.assert_close(noised, arrays["noised_latent"], atol=1e-6, rtol=1e-6)


def test_runs_of_patches_as_released(reference: Reference) -> None:
    arrays = reference("diva_siglip_recap")
    found = average_runs(arrays["pooled"][:, 0], arrays["patches"], 6)
    torch.testing.assert_close(found, arrays["tokens"], atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match="36 patches do not fall into runs of 7"):
        average_runs(arrays["pooled"][:, 0], arrays["patches"], 7)


def _setting(**options: object) -> tuple[DiffusionFeedback, Tensor, Tensor, Tensor]:
    part = DiffusionFeedback(
        Denoiser(6, 4), torch.randn(10, 6), 8, torch.linspace(0.99, 0.01, 20), mean_null=True, **options
    )  # type: ignore[arg-type]
    return part, torch.randn(3, 4, 5, 5), torch.randn(3, 8), torch.randn(3, 9, 8)


def test_patches_are_drawn_with_or_without_replacement() -> None:
    seeded = torch.Generator().manual_seed(1)
    once = draw_patches(4, 9, wanted=76, generator=seeded)
    assert once.shape == (4, 9)
    assert all(sorted(row.tolist()) == list(range(9)) for row in once)
    often = draw_patches(4, 9, wanted=76, replacement=True, generator=seeded)
    assert often.shape == (4, 76)
    assert int(often.max()) < 9


@pytest.mark.parametrize("tokens", ["drawn", "half", "all"])
def test_the_gradient_reaches_the_tower_and_the_projection_alone(tokens: str) -> None:
    part, latent, pooled, patches = _setting(tokens=tokens)
    pooled.requires_grad_()
    patches.requires_grad_()
    before = hashlib.sha256(part.denoiser.linear.weight.numpy(force=True).tobytes()).hexdigest()  # type: ignore[union-attr]
    losses = part.train()(latent, pooled, patches, torch.randn(3, 8), torch.Generator().manual_seed(0))
    losses["loss"].backward()
    assert set(losses) == {"loss", "diffusion", "anchor"}
    torch.testing.assert_close(losses["loss"], losses["diffusion"] + 0.01 * losses["anchor"])
    assert pooled.grad is not None
    assert patches.grad is not None
    assert part.visual_proj.bias.grad is not None
    assert all(weight.grad is None for weight in part.denoiser.parameters())  # type: ignore[union-attr]
    torch.optim.SGD([*part.visual_proj.parameters()], lr=0.1).step()
    after = hashlib.sha256(part.denoiser.linear.weight.numpy(force=True).tobytes()).hexdigest()  # type: ignore[union-attr]
    assert before == after
    assert not part.denoiser.training  # type: ignore[union-attr]


def test_the_anchor_is_nothing_where_nothing_has_moved() -> None:
    part, latent, pooled, patches = _setting()
    losses = part(latent, pooled, patches, pooled * 3)
    assert float(losses["anchor"].detach()) == pytest.approx(0.0, abs=1e-6)
    part, latent, pooled, patches = _setting(anchor=0.0)
    assert set(part(latent, pooled, patches, pooled)) == {"loss", "diffusion"}


def test_wrong_options_and_a_denoiser_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"a share in 0\.\.1"):
        DiffusionFeedback(Denoiser(6, 4), torch.randn(10, 6), 8, [1.5])
    with pytest.raises(ValueError, match="tokens is drawn, half or all"):
        _setting(tokens="some")
    part, latent, pooled, patches = _setting()
    part = DiffusionFeedback(lambda z, steps, told: z[..., :2], torch.randn(10, 6), 8, [0.5], mean_null=True)
    with pytest.raises(ValueError, match="latent of another size"):
        part(latent, pooled, patches)
    strict = DiffusionFeedback(Denoiser(6, 4), torch.randn(10, 6), 8, [0.5], tokens="half")
    with pytest.raises(ValueError, match="5 tokens against a null text of 10"):
        strict(latent, pooled, patches)
