"""Deep fusion and alignment map against outputs of the released code, and what must hold of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fsar.functional import focal_loss
from fsar.fusion.glip import AlignmentMap, GatedCrossAttention

Reference = Callable[..., dict[str, Tensor]]


def test_fusion_as_released_with_gradients(reference: Reference) -> None:
    arrays = reference("glip_bi_attention")
    part = GatedCrossAttention(16, 12, width=24, heads=4, published=True)
    part.load_state_dict({key[2:]: x for key, x in arrays.items() if key.startswith("w.")})
    v, words = (arrays[key].clone().requires_grad_() for key in ("v", "l"))
    out = part(v, words, arrays["mask"])
    ((out[0] * arrays["upstream_v"]).sum() + (out[1] * arrays["upstream_l"]).sum()).backward()
    for found, key in ((out[0], "out_v"), (out[1], "out_l"), (v.grad, "grad_v"), (words.grad, "grad_l")):
        torch.testing.assert_close(found, arrays[key], atol=1e-5, rtol=1e-5)


def test_map_and_focal_loss_as_released(reference: Reference) -> None:
    arrays = reference("glip_alignment_map")
    part = AlignmentMap(16, 12)
    weights = {key.removeprefix("w."): x for key, x in arrays.items() if key in part.state_dict() or key[:2] == "w."}
    part.load_state_dict(weights)
    torch.testing.assert_close(part(arrays["visual"], arrays["words"]), arrays["logits"], atol=1e-5, rtol=1e-5)
    logits = arrays["logits"].clone().requires_grad_()
    loss = focal_loss(logits, arrays["target"], arrays["text_mask"])
    loss.backward()
    torch.testing.assert_close(loss, arrays["focal_loss_sum"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits.grad, arrays["grad_logits"], atol=1e-5, rtol=1e-5)


def test_it_begins_as_the_identity_and_learns() -> None:
    frames, words = torch.randn(3, 2, 8, 16), torch.randn(3, 2, 5, 12)
    part = GatedCrossAttention(16, 12, heads=4)
    fused, read = part(frames, words)
    assert torch.equal(fused, frames)
    assert torch.equal(read, words)
    (fused.square().sum() + read.square().sum()).backward()
    assert float(part.gamma_v.grad.abs().max()) > 0  # type: ignore[union-attr]
    assert float(part.gamma_l.grad.abs().max()) > 0  # type: ignore[union-attr]
    assert torch.allclose(GatedCrossAttention(16, 12, heads=4, layers=5, published=True).gamma_v, torch.tensor(0.2))


def test_padded_words_change_nothing_of_the_frames_and_stay() -> None:
    part = GatedCrossAttention(16, 12, heads=4)
    torch.nn.init.ones_(part.gamma_v)
    torch.nn.init.ones_(part.gamma_l)
    frames, words, mask = torch.randn(2, 8, 16), torch.randn(2, 5, 12), torch.ones(2, 5, dtype=torch.bool)
    mask[:, 3:] = False
    fused, read = part(frames, words, mask)
    alone, words_alone = part(frames, words[:, :3])
    torch.testing.assert_close(fused, alone)
    torch.testing.assert_close(read[:, :3], words_alone)
    assert torch.equal(read[:, 3:], words[:, 3:])


def test_extremes_are_finite_and_an_untrained_map_expects_little() -> None:
    part = GatedCrossAttention(16, 12, heads=4)
    torch.nn.init.ones_(part.gamma_v)
    fused, _ = part(torch.full((1, 8, 16), 1e15), torch.zeros(1, 5, 12))
    assert bool(fused.isfinite().all())
    map_ = AlignmentMap(16, 12, prior=0.01)
    chance = map_(torch.zeros(1, 8, 16), torch.randn(1, 5, 12)).sigmoid()
    torch.testing.assert_close(chance, torch.full_like(chance, 0.01))
    assert float(focal_loss(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]])).isfinite())


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="heads=3 must divide width=16"):
        GatedCrossAttention(16, heads=3)
    with pytest.raises(ValueError, match="frames of 16 channels and words of 12"):
        GatedCrossAttention(16, 12)(torch.rand(1, 8, 12), torch.rand(1, 5, 12))
    with pytest.raises(ValueError, match="prior must lie between 0 and 1"):
        AlignmentMap(16, prior=1.0)
    with pytest.raises(ValueError, match="frames of 16 channels and words of 12, found 16 and 16"):
        AlignmentMap(16, 12)(torch.rand(1, 8, 16), torch.rand(1, 5, 16))
