"""CLIP-CPM²C: both released copies, sizes, and what must hold for what it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fsar.methods import ClipCPM2C
from fsar.methods.clip_motion.clip_cpm2c import convert_released
from fsar.temporal import FrameMotion

NAMES = ("logits", "class_logits", "consistency", "loss", "class_loss", "few_shot_loss")
GRADIENTS = {
    "grad_support": lambda m, e: e.support["frames"].grad,
    "grad_query": lambda m, e: e.query["frames"].grad,
    "grad_weight/scale": lambda m, e: m.scale.grad,
    "grad_weight/class_token": lambda m, e: m.token.grad,
    "grad_weight/context2.layers.0.1.net.0.weight": lambda m, e: (
        m.modulation.block.blocks[0].feed_forward[1].weight.grad
    ),
    "grad_weight/motion_conv1.weight": lambda m, e: m.motion.first.weight.grad,
    "grad_weight/motion_conv1_3.weight": lambda m, e: m.motion.scales[1].weight.grad,
    "grad_weight/gate_text.0.weight": lambda m, e: m.modulation.gates.text[0].weight.grad,
}


@pytest.mark.parametrize("copy", ["clip_cpm2c", "clip_cpm2c_gated"])
@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_reproduces_the_released_code(copy: str, case: str, reference: Any, checks: Any) -> None:
    arrays, stored = reference(copy, case), checks.weights(reference(copy))
    gated = copy.endswith("gated")
    method = ClipCPM2C(
        checks.NoEncoder(32), frames_weight=0.75, hidden=64, gated=gated, share=float(arrays["alpha"]), motion_share=0.5
    )
    method.load_state_dict(convert_released(stored))
    checks.without_dropout(method).train()
    episode = checks.stored_episode(arrays)
    scores = checks.scores(method, episode, arrays["text"])
    losses = method.loss(scores, episode)
    losses["loss"].backward()
    found = {**losses, "logits": scores.logits, "class_logits": scores.class_logits}
    found |= {name: gradient(method, episode) for name, gradient in GRADIENTS.items() if name in arrays}
    checks.agree(found, {name: x for name, x in arrays.items() if name in NAMES or name in GRADIENTS})
    checks.agree({"logits": checks.scores(method.eval(), episode, arrays["text"]).logits}, {"logits": arrays["logits"]})


def test_the_sizes_are_the_papers(checks: Any) -> None:
    with torch.device("meta"):
        method = ClipCPM2C(checks.NoEncoder(512))
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert parts == {"encoder": 0, "alignment": 0, "modulation": 3_149_824, "motion": 1_573_888}
    assert sum(p.numel() for p in method.parameters()) == 4_724_737


def test_without_its_weight_the_motion_is_not_looked_at(checks: Any) -> None:
    method = ClipCPM2C(checks.NoEncoder(16), motion_weight=0.0, hidden=32).eval()
    episode = checks.random_episode(16)
    text = torch.randn(5, 16)
    before = checks.scores(method, episode, text).logits
    torch.nn.init.normal_(method.motion.first.weight)
    assert torch.equal(checks.scores(method, episode, text).logits, before)
    assert method.query_parts(episode.query).keys() == {"frames"}


def test_a_clip_that_stands_still_has_the_same_motion_between_all_inner_frames() -> None:
    motion = FrameMotion(8)(torch.randn(1, 8).expand(8, -1))
    torch.testing.assert_close(motion[2:5], motion[2:3].expand(3, -1))  # the ends see padding
    with pytest.raises(ValueError, match="motion is between two frames, but the clips have 1"):
        FrameMotion(8)(torch.randn(3, 1, 8))


def test_an_unknown_released_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'fc.weight' is not a weight of a released checkpoint of CLIP-CPM²C"):
        convert_released({"fc.weight": torch.ones(1)})
