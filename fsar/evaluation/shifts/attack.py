"""Projected gradient descent on the frames of a clip, against an encoder that stays as it is.

Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", https://arxiv.org/abs/1706.06083,
eq. 2. Which classes a clip is told from differs by episode; here it is attacked once, among all classes of the split::

    x_0 = x + u,  u uniform in [-ε, ε];   x_(i+1) = clip_[x-ε, x+ε] (x_i + α sign ∇ m(x_i)),   α = 2.5 ε / steps
    m(x) = max_(c ≠ y) s_c - s_y,   s_c = mean_t cos(φ_t(x), μ_ct)

φ (t d) are the features of the frames, μ_c (t d) their mean over the clean clips of class c, y the true class. Who
attacks knows encoder, classes and label, and nothing of the episode or of what stands behind the encoder. What comes
back are whole levels of 0..255, as a file holds them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

See = Callable[[Tensor], Tensor]
"""Frames ``(b t c h w)``, floating point in 0..1, to their features ``(b t d)``."""


def attack_frames(
    frames: Tensor, see: See, means: Tensor, labels: Tensor, epsilon: int, start: Tensor, steps: int = 10
) -> Tensor:
    """Frames that the encoder takes for those of another class.

    Args:
        frames: ``(b t c h w)`` uint8.
        see: the encoder; its weights get no gradient.
        means: ``(C t d)`` features of every class's clean clips.
        labels: ``(b)`` of ``C``.
        epsilon: no pixel moves further, in 1/255.
        start: like ``frames``, in -1..1: how much of epsilon the first step begins away from them.
        steps: of the descent.

    Returns:
        Likewise, uint8.

    Raises:
        ValueError: for an epsilon below 1, or an encoder through which no gradient flows.
    """
    if epsilon < 1 or steps < 1:
        raise ValueError(f"epsilon, in 1/255, and steps must be whole numbers of 1 or more; found {epsilon}, {steps}.")
    clean, reach = frames.float() / 255, epsilon / 255
    low, high = (clean - reach).clamp(min=0), (clean + reach).clamp(max=1)
    moved = (clean + reach * start).clamp(low, high)
    for _ in range(steps):
        with torch.enable_grad():
            moved.requires_grad_()
            harm = margin(see(moved), means, labels)
            if not harm.requires_grad:
                raise ValueError("pgd needs the gradient of the features by the pixels, which this encoder cuts off.")
            (slope,) = torch.autograd.grad(harm.sum(), [moved])
        moved = (moved.detach() + 2.5 * reach / steps * slope.sign()).clamp(low, high)
    return (255 * moved).round().to(torch.uint8)


def margin(features: Tensor, means: Tensor, labels: Tensor) -> Tensor:
    """``(b)``: how much more alike than their own class features ``(b t d)`` are to another, see the module."""
    alike = torch.einsum("btd,ctd->bc", normalize(features, dim=-1), normalize(means, dim=-1)) / features.shape[1]
    own = torch.nn.functional.one_hot(labels, len(means)).bool()
    return alike.masked_fill(own, -torch.inf).amax(-1) - alike.masked_fill(~own, 0).sum(-1)
