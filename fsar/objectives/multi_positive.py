"""Contrast between videos and texts when several of them belong together.

Wang et al. 2021, "ActionCLIP", https://arxiv.org/abs/2109.08472, section 3.2; the released code
(https://github.com/sallymmx/ActionCLIP) writes the same number as an elementwise mean times the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def multi_positive_kl(logits: Tensor, positive: Tensor, target_temperature: float | None = None) -> Tensor:
    """``mean_i Σ_j T_ij (log T_ij - log softmax_j(logits)_ij)``, T a distribution over the positives of a row.

    With one positive a row and no target temperature it is the cross-entropy, InfoNCE. A row without positives counts
    nothing and is left out of the mean.

    Args:
        logits: ``(... a b)``.
        positive: ``(... a b)`` bool.
        target_temperature: ``T = softmax(target_temperature · positive)``, 10 in the released code, which leaves a
            little weight on every negative; ``T`` is uniform on the positives when not given.

    >>> logits, positive = torch.zeros(2, 2), torch.tensor([[True, False], [True, True]])
    >>> multi_positive_kl(logits, positive)  # ln 2 for the first row, nothing for the second
    tensor(0.3466)
    """
    if target_temperature is None:
        target = positive / positive.sum(-1, keepdim=True).clamp_min(1)
    else:
        target = (target_temperature * positive).softmax(-1)
    entropy = torch.special.xlogy(target, target)
    divergence = (entropy - target * logits.float().log_softmax(-1)).sum(-1)  # (... a)
    rows = positive.any(-1)
    return (divergence * rows).sum() / rows.sum().clamp_min(1)


def both_directions(logits: Tensor, positive: Tensor, target_temperature: float | None = None) -> Tensor:
    """``½ [KL(S) + KL(Sᵀ)]`` of :func:`multi_positive_kl`, symmetric in the two modalities.

    >>> both_directions(torch.zeros(2, 2), torch.eye(2).bool())  # ln 2
    tensor(0.6931)
    """
    rows = multi_positive_kl(logits, positive, target_temperature)
    return (rows + multi_positive_kl(logits.mT, positive.mT, target_temperature)) / 2
