"""Probabilities that come true as often as they say.

A method's logits rank classes; how sure it is, its softmax tells only by accident. One temperature ``T`` for all of
them, ``softmax(z / T)``, changes no ranking and mends most of it (Guo et al. 2017, "On calibration of modern neural
networks", https://arxiv.org/abs/1706.04599, sec. 4.2). It is the one that makes clips of known classes, which took no
part in training, likeliest.

Of few clips all may be right, and then no ``T`` is low enough. So the right class is given ``(N + 1) / (N + n)`` of the
probability and every other ``1 / (N + n)``: the rule of succession, for ``N`` clips and ``n`` classes (for two classes
Platt 1999, "Probabilistic outputs for support vector machines", sec. 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

STEEPEST, STEPS, BINS = 1e4, 60, 15
"""The steepest and, inverted, the flattest softmax of logits of spread 1; halvings of the interval between them; bins
of the expected calibration error."""


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities of logits.

    Args:
        temperature: divides the logits.
        source: the clips that it was fitted to, in words: "18 support clips, each left out", "5,000 queries of
            validation episodes".
        method: whose logits they were, as :meth:`fsar.method.Method.describe` says it; "" when it is not kept.
    """

    temperature: float
    source: str
    method: str = ""


def explain(calibration: Calibration | None) -> str:
    """What the numbers beside the classes mean."""
    if calibration is None:
        return (
            "The numbers beside the classes are shares of the scores' softmax, not probabilities: nothing says how "
            "often they come true. Two clips or more of every class calibrate them."
        )
    return (
        f"Probabilities are calibrated on {calibration.source}: of clips of these classes that are given 80%, about 80 "
        f"in 100 are named right (temperature {calibration.temperature:.3g})."
    )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature of ``logits (N n)`` whose classes are ``labels (N)``.

    Examples:
        >>> logits = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 2)  # four of six are right, with two added
        4.33
    """
    count, ways = logits.shape
    z = logits.double().cpu() - logits.double().cpu().amax(-1, keepdim=True)
    spread = float(z.mean().neg())
    if not spread > 0:
        return 1.0
    z = z / spread
    right = torch.nn.functional.one_hot(labels.cpu(), ways).double()
    wanted = ((right * count + 1) / (count + ways) * z).sum(-1).mean()
    low, high = -np.log(STEEPEST), np.log(STEEPEST)  # of 1 / T: the loss is convex in it, and its slope goes up
    for _ in range(STEPS):
        middle = (low + high) / 2
        found = ((z * float(np.exp(middle))).softmax(-1) * z).sum(-1).mean()
        low, high = (low, middle) if found > wanted else (middle, high)
    return float(spread / np.exp((low + high) / 2))


def calibration_error(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> float:
    """How far the probability of the likeliest class is from how often it is right, on average over ``BINS`` bins of
    it, in 0..1 (torchmetrics' MulticlassCalibrationError); of ``logits (N n)`` and ``labels (N)``."""
    found = (logits.double() / temperature).softmax(-1)
    error = multiclass_calibration_error(found, labels, num_classes=logits.shape[-1], n_bins=BINS, norm="l1")
    return float(error)


def flat(rows: dict[str, np.ndarray]) -> tuple[Tensor, Tensor]:
    """Scores ``(N n)`` and classes ``(N)`` of all queries of an evaluation."""
    scores, truth = torch.from_numpy(rows["scores"]), torch.from_numpy(rows["truth"])
    return scores.flatten(0, -2), truth.flatten()


def calibrate(rows: dict[str, np.ndarray], method: str) -> Calibration:
    """On the rows of validation episodes, see :meth:`fsar.evaluation.results.Predictions.arrays`."""
    logits, labels = flat(rows)
    return Calibration(fit_temperature(logits, labels), f"{len(labels):,} queries of validation episodes", method)


def read_calibration(kept: Any, method: str) -> Calibration | None:
    """What a checkpoint keeps of :class:`Calibration`; None when it keeps none, or that of other logits.

    Raises:
        ValueError: when it is damaged.
    """
    if kept is None:
        return None
    facts = kept if isinstance(kept, dict) else {}
    temperature, source = facts.get("temperature"), facts.get("source")
    if not (isinstance(temperature, float) and 0 < temperature < float("inf") and isinstance(source, str)):
        raise ValueError(f"the calibration kept with the weights must hold temperature and source, found {kept!r}.")
    return Calibration(temperature, source, method) if facts.get("method") == method else None


def calibration_facts(rows: dict[str, np.ndarray], calibration: Calibration | None) -> dict[str, Any]:
    """What a result says of its probabilities: the expected calibration error, as the logits are and calibrated."""
    logits, labels = flat(rows)
    plain = calibration_error(logits, labels)
    if calibration is None:
        return {"expected_calibration_error": plain, "temperature": None}
    return {
        "expected_calibration_error": calibration_error(logits, labels, calibration.temperature),
        "expected_calibration_error_uncalibrated": plain,
        "temperature": calibration.temperature,
        "temperature_from": calibration.source,
    }
