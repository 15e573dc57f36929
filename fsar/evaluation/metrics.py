"""Accuracy over episodes, added up while they come, on one process or several."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from fsar.evaluation.accuracy import Accuracy, half_interval


class EpisodeAccuracy(Metric):
    """Mean over episodes of the share of queries named right, and its normal 95 % interval ``1.96 · std / sqrt(E)``.

    The episode, not the query, is the unit of independence: queries of one episode share their supports. The sums are
    kept in float64 and added up over processes, so the result does not depend on how episodes are batched or spread.

    Args:
        alone: of the episodes of this process only; then it may be computed where the other processes do not, as a
            progress bar does. (torchmetrics heeds ``sync_on_compute`` in its constructor alone.)

    >>> accuracy = EpisodeAccuracy()
    >>> accuracy.update(torch.eye(4).repeat(3, 1, 1), torch.tensor([[0, 1, 2, 3], [0, 1, 2, 0], [0, 1, 2, 3]]))
    >>> print(accuracy.compute())
    91.67 ± 16.33 % (3 episodes)
    """

    full_state_update = False
    higher_is_better = True
    total: Tensor
    squares: Tensor
    episodes: Tensor

    def __init__(self, alone: bool = False) -> None:
        super().__init__(sync_on_compute=not alone)
        self.set_dtype(torch.float64)
        for name in ("total", "squares", "episodes"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """``logits (... q n)``, ``labels (... q)``: one episode, or a batch of them along ``...``."""
        right = (logits.argmax(-1) == labels).double().mean(-1)
        self.total += right.sum()
        self.squares += right.square().sum()
        self.episodes += right.numel()

    def compute(self) -> Accuracy:
        """The accuracy so far; the interval is NaN for fewer than two episodes."""
        count = int(self.episodes)
        if count == 0:
            raise ValueError("EpisodeAccuracy has seen no episode: update it before asking for the accuracy.")
        mean = float(self.total) / count
        if count == 1:
            return Accuracy(mean, float("nan"), count)
        variance = max(float(self.squares) / count - mean**2, 0.0) * count / (count - 1)
        return Accuracy(mean, half_interval(variance**0.5, count), count)
