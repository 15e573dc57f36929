"""Token grouping against outputs of the released block, and what must hold of any assignment."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fsar.fusion.group_vit import (
    Assign,
    GroupAssignment,
    GroupingBlock,
    TokenGrouping,
    assign_groups,
    draw_gumbel,
    multi_label_loss,
)

Reference = Callable[..., dict[str, Tensor]]
KINDS: tuple[Assign, ...] = ("soft", "hard", "gumbel")


def _close(found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max().clamp_min(1))
    torch.testing.assert_close(found, expected, atol=1e-5 * scale, rtol=0)


def _weights(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key[2:]: x for key, x in arrays.items() if key.startswith("w.")}


def _noise(arrays: dict[str, Tensor]) -> Tensor | None:
    return arrays["gumbel_noise"][:, 0] if "gumbel_noise" in arrays else None


@pytest.mark.parametrize("kind", KINDS)
def test_assignment_as_released(reference: Reference, kind: Assign) -> None:
    arrays = reference(f"groupvit_assign_{kind}")
    part = GroupAssignment(arrays["groups"].shape[-1], kind, "dot")
    part.load_state_dict(_weights(arrays))
    out, shares = part(arrays["groups"], arrays["tokens"], _noise(arrays))
    _close(out, arrays["out"])
    if kind == "soft":
        _close(shares, arrays["attn_soft"][:, 0])
    else:
        assert torch.equal(shares, arrays["attn_hard"][:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_block_as_released_with_gradients(reference: Reference, kind: Assign, shared: object) -> None:
    arrays = reference(f"groupvit_grouping_{kind}")
    block = GroupingBlock(24, tokens=6, groups=4, heads=3, assign=kind, score="dot")
    block.load_state_dict(_weights(arrays))
    x, tokens = (arrays[key].clone().requires_grad_() for key in ("x", "group_tokens"))
    out, shares = block(x, tokens, _noise(arrays))
    (out * arrays["upstream"]).sum().backward()
    _close(out, arrays["out"])
    _close(shares, arrays["attn_soft" if kind == "soft" else "attn_hard"][:, 0])
    assert x.grad is not None
    assert tokens.grad is not None
    assert block.assign.q_proj.weight.grad is not None
    _close(x.grad, arrays["grad_x"])
    _close(tokens.grad, arrays["grad_group_tokens"])
    _close(block.assign.q_proj.weight.grad, arrays["grad_w_q"])


def test_multi_label_loss_as_released(reference: Reference) -> None:
    arrays = reference("groupvit_multi_label")
    image, nouns = (arrays[key].clone().requires_grad_() for key in ("image", "nouns"))
    loss = multi_label_loss(image, nouns, arrays["multi_label_logit_scale"].exp())
    _close(loss, arrays["multi_label_loss"])
    loss.backward()
    assert nouns.grad is not None
    _close(nouns.grad, arrays["grad_nouns"])


@pytest.mark.parametrize("kind", KINDS)
def test_columns_add_up_to_one(kind: Assign) -> None:
    scores = torch.randn(2, 3, 4, 9, dtype=torch.float64) * 50
    noise = draw_gumbel(scores) if kind == "gumbel" else None
    shares = assign_groups(scores, kind, noise)
    torch.testing.assert_close(shares.sum(-2), torch.ones(2, 3, 9, dtype=torch.float64))
    if kind != "soft":
        assert set(shares.unique().tolist()) == {0.0, 1.0}


def test_noise_is_finite_and_of_its_distribution() -> None:
    noise = draw_gumbel(torch.empty(200_000))
    assert bool(noise.isfinite().all())
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(noise.var()) == pytest.approx(torch.pi**2 / 6, abs=0.05)


@pytest.mark.parametrize("scope", ["frame", "clip"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_queries_and_keys_and_evaluation_is_certain(kind: Assign, scope: str) -> None:
    part = TokenGrouping(24, groups=4, tokens=6, heads=2, assign=kind, scope=scope)  # type: ignore[arg-type]
    patches = torch.randn(2, 3, 9, 24)
    part(patches)[0].square().sum().backward()
    for layer in (part.block.assign.q_proj, part.block.assign.k_proj):
        assert layer.weight.grad is not None
        assert float(layer.weight.grad.abs().max()) > 0
    part.eval()
    assert torch.equal(part(patches)[0], part(patches)[0])


@pytest.mark.parametrize("scope", ["frame", "clip"])
def test_masked_patches_change_nothing(scope: str) -> None:
    part = TokenGrouping(24, groups=4, tokens=6, heads=2, scope=scope).eval()  # type: ignore[arg-type]
    patches, mask = torch.randn(2, 3, 9, 24), torch.ones(2, 3, 9, dtype=torch.bool)
    mask[..., 7:] = False
    other = patches.clone()
    other[..., 7:, :] = 100.0
    (first, shares), (second, _) = part(patches, mask), part(other, mask)
    torch.testing.assert_close(first, second)
    assert float(shares.unflatten(-1, (-1, 9))[..., 7:].detach().abs().max()) == 0


def test_leading_axes_and_neighbours_do_not_matter() -> None:
    part = TokenGrouping(24, groups=4, tokens=6, heads=2).eval()
    patches = torch.randn(2, 5, 3, 9, 24)
    whole = part(patches)[0]
    torch.testing.assert_close(whole[1, 2], part(patches[1, 2])[0], atol=1e-5, rtol=1e-5)
    cosine = TokenGrouping(24, groups=4, tokens=6, heads=2, score="cosine")
    assert cosine(patches)[0].shape == (2, 5, 3, 4, 24)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": 9, "tokens": 6}, "groups=9 must lie in 1..tokens=6"),
        ({"heads": 5}, "heads=5 must divide the 24 channels"),
        ({"assign": "sometimes"}, "assign is soft, hard or gumbel"),
        ({"scope": "world"}, "scope is frame or clip"),
        ({"score": "sum"}, "score is dot or cosine"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TokenGrouping(24, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="set channels to the width"):
        TokenGrouping(24, heads=2)(torch.rand(2, 3, 9, 12))
