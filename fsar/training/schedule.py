"""The learning-rate schedule of the CLIP-FSAR family, in optimiser steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupSteps(LambdaLR):
    """Linear warm-up, then constant pieces.

    Args:
        optimizer: whose learning rates are scaled.
        warmup: optimiser steps of the linear warm-up; 0 for none.
        start: factor of the base learning rate at step 0 of the warm-up.
        milestones: steps at which the rate is multiplied by ``gamma``.
        gamma: the factor.
        factors: of the base learning rate from each milestone on, instead of the powers of ``gamma``.

    Raises:
        ValueError: another number of factors than of milestones.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: int = 0,
        start: float = 0.1,
        milestones: Sequence[int] = (),
        gamma: float = 0.1,
        factors: Sequence[float] | None = None,
    ) -> None:
        steps = sorted(milestones)
        after = [gamma ** (i + 1) for i in range(len(steps))] if factors is None else list(factors)
        if len(after) != len(steps):
            raise ValueError(
                f"WarmupSteps: {len(after)} factors for {len(steps)} milestones; give one for each, or leave factors "
                "out for powers of gamma."
            )

        def factor(step: int) -> float:
            if step < warmup:
                return start + (1 - start) * step / warmup
            return [1.0, *after][bisect_right(steps, step)]

        super().__init__(optimizer, factor)
