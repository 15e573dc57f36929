"""Linear probe: a linear classifier on frozen clip features, fitted on the support clips alone.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.2 (logistic regression by L-BFGS), and the few-shot
protocol of CoOp (Zhou et al. 2022, https://arxiv.org/abs/2109.01134), whose sweep over C is :func:`sweep`. An episode
has no validation shots: C is fixed, or chosen once on validation-class episodes. Unit vectors with C between 1 and 10
are a strong baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from episodes.clips import Features
from episodes.episode import Task
from fsar.encoders.frame import FrameEncoder
from fsar.method import Parts, Scores
from fsar.methods.clip_family.pooled import PooledMethod, pool

Linear = tuple[Tensor, Tensor]
"""Weights ``(... n d)`` and bias ``(... n)``."""


CPU_GROUP = 32
"""Episodes that a CPU fits together: their second derivatives stay in its cache, which is 2.5 times faster."""


def fit_logistic(clips: Tensor, labels: Tensor, ways: int, strength: float | Tensor = 1.0, steps: int = 50) -> Linear:
    """Multinomial logistic regression ``min Σ_s CE(W x_s + b) + |W|² / (2C)`` of many episodes at once, by Newton.

    The minimiser lies in the span of the clips, so it is found in their ``r = min(s, d)`` coordinates; float64. Equal
    to scikit-learn's ``LogisticRegression(C)``, whose bias is not penalised either.

    Args:
        clips: ``(... s d)``.
        labels: ``(... s)`` int64.
        ways: ``n``.
        strength: the inverse penalty ``C``; a tensor broadcasts against the leading axes.
        steps: at most; the steps end when no gradient exceeds 1e-8.

    Returns:
        Weights ``(... n d)`` and bias ``(... n)``, float64.
    """
    x = clips.double()
    penalty = 1 / torch.as_tensor(strength, dtype=torch.float64, device=x.device)
    lead = torch.broadcast_shapes(labels.shape[:-1], penalty.shape)
    basis, coordinates = torch.linalg.qr(x.mT)  # (... d r), (... r s)
    z = torch.cat([coordinates.mT, torch.ones_like(x[..., :1])], dim=-1).expand(*lead, -1, -1)  # bias last, (... s r+1)
    size = z.shape[-1]
    target = one_hot(labels, ways).double().expand(*lead, -1, -1)
    decay = penalty.expand(lead)[..., None, None] * torch.ones(size, dtype=torch.float64, device=x.device)
    decay[..., -1] = 0
    # The classes' weights add up to zero at the minimum, so n - 1 of them in an orthonormal basis say everything.
    classes = torch.linalg.qr(torch.eye(ways, ways - 1, dtype=torch.float64, device=x.device) - 1 / ways)[0]
    v = z.new_zeros(*lead, ways - 1, size)
    for _ in range(steps):
        probability = (z @ v.mT @ classes.T).softmax(-1)  # (... s n)
        gradient = ((probability - target) @ classes).mT @ z + decay * v
        if float(gradient.abs().amax()) < 1e-8:
            break
        step = _newton_step(z, probability, classes, decay, gradient)
        v = v - _damped(z, target @ classes, classes, decay, v, step)
    weight, bias = (classes @ v).split([size - 1, 1], dim=-1)
    return weight @ basis.mT, bias[..., 0]


def _newton_step(z: Tensor, probability: Tensor, classes: Tensor, decay: Tensor, gradient: Tensor) -> Tensor:
    """Solves Hessian · step = gradient, ``(... n-1 r+1)``; ``∂²CE / ∂v_a ∂v_b = Σ_s Pᵀ(diag p - p pᵀ)P_ab z zᵀ``."""
    rows, size = gradient.shape[-2:]
    along = probability @ classes  # (... s n-1)
    spread = (probability @ (classes[:, :, None] * classes[:, None, :]).flatten(1)).unflatten(-1, (rows, rows))
    spread = spread - along[..., :, None] * along[..., None, :]  # (... s a b)
    weighted = (spread[..., None] * z[..., None, None, :]).flatten(-3)  # (... s a·b·i)
    hessian = (weighted.mT @ z).unflatten(-2, (rows, rows, size)).transpose(-3, -2)  # (... a i b j), symmetric
    hessian = hessian.flatten(-4, -3).flatten(-2)
    hessian.diagonal(dim1=-2, dim2=-1).add_(decay.expand(gradient.shape).flatten(-2) + 1e-12)
    factor = torch.linalg.cholesky(hessian)
    return torch.cholesky_solve(gradient.flatten(-2)[..., None], factor)[..., 0].unflatten(-1, (rows, size))


def _damped(z: Tensor, target: Tensor, classes: Tensor, decay: Tensor, v: Tensor, step: Tensor) -> Tensor:
    """The step, halved for each episode until the objective does not rise."""

    def objective(at: Tensor) -> Tensor:
        scores = z @ at.mT
        fit = ((scores @ classes.T).logsumexp(-1) - (scores * target).sum(-1)).sum(-1)
        return fit + (decay * at.square()).sum((-1, -2)) / 2

    before = objective(v)
    scale = torch.ones_like(before)
    for _ in range(30):
        rises = objective(v - scale[..., None, None] * step) > before + 1e-12 * before.abs()
        if not bool(rises.any()):
            break
        scale = torch.where(rises, scale / 2, scale)
    return scale[..., None, None] * step


def fit_ridge(clips: Tensor, labels: Tensor, ways: int, penalty: float | Tensor = 1.0) -> Linear:
    """Ridge regression on targets 1 (own class) and -1, in closed form with an ``s x s`` system per episode.

    Equal to scikit-learn's ``RidgeClassifier(alpha=penalty)`` for more than two classes.

    Args:
        clips: ``(... s d)``.
        labels: ``(... s)`` int64.
        ways: ``n``.
        penalty: of the squared weights; a tensor broadcasts against the leading axes.

    Returns:
        Weights ``(... n d)`` and bias ``(... n)``, float64.
    """
    x, y = clips.double(), 2 * one_hot(labels, ways).double() - 1
    mean_x, mean_y = x.mean(-2, keepdim=True), y.mean(-2, keepdim=True)
    centred = x - mean_x
    strength = torch.as_tensor(penalty, dtype=torch.float64, device=x.device)[..., None, None]
    gram = centred @ centred.mT + strength * torch.eye(x.shape[-2], dtype=torch.float64, device=x.device)
    weight = torch.linalg.solve(gram, y - mean_y).mT @ centred  # (... n d)
    return weight, (mean_y - mean_x @ weight.mT)[..., 0, :]


class LinearProbe(PooledMethod):
    """A linear classifier fitted on the support clips of each episode.

    Args:
        encoder: any frame encoder.
        strength: ``C``, the inverse of the penalty on the weights (ridge: its penalty is ``1 / C``).
        solver: "logistic" fits many episodes at once, "ridge" in closed form, "sklearn" calls scikit-learn's logistic
            regression for one episode after the other, which is slow and the same as "logistic".
        normalise: fit unit vectors; otherwise the mean frames as they are, as CLIP's released probe does.

    >>> LinearProbe(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False

    def __init__(
        self,
        encoder: FrameEncoder,
        strength: float = 1.0,
        solver: Literal["logistic", "ridge", "sklearn"] = "logistic",
        normalise: bool = True,
    ) -> None:
        super().__init__(encoder)
        self.strength: float | Tensor = strength
        self.solver = solver
        self.normalise = normalise

    def query_parts(self, features: Features) -> Parts:
        frames = features["frames"]
        return {"pooled": pool(frames) if self.normalise else frames.mean(-2)}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        clips, labels, ways = support["pooled"], episode.support_labels, episode.ways
        strength = self.strength[..., 0, 0] if isinstance(self.strength, Tensor) else self.strength  # a grid (g 1 1 1)
        if self.solver == "ridge":
            weight, bias = fit_ridge(clips, labels, ways, 1 / strength)
        elif self.solver == "logistic":
            weight, bias = _in_groups(clips, labels, ways, strength)
        else:
            weight, bias = _each_with_sklearn(clips, labels, ways, float(strength))
        logits = (query["pooled"].double() @ weight.mT + bias[..., None, :]).float()
        return Scores(logits, logits)


def _in_groups(clips: Tensor, labels: Tensor, ways: int, strength: float | Tensor) -> Linear:
    """:func:`fit_logistic`, on a CPU a few episodes at a time."""
    if clips.dim() != 3 or clips.device.type != "cpu":
        return fit_logistic(clips, labels, ways, strength)
    groups = zip(clips.split(CPU_GROUP), labels.split(CPU_GROUP), strict=True)
    weights, biases = zip(*(fit_logistic(some, own, ways, strength) for some, own in groups), strict=True)
    return torch.cat(weights, dim=-3), torch.cat(biases, dim=-2)


def _each_with_sklearn(clips: Tensor, labels: Tensor, ways: int, strength: float) -> Linear:
    flat = clips.detach().cpu().reshape(-1, *clips.shape[-2:])
    targets = labels.cpu().reshape(-1, labels.shape[-1])
    fits = [fit_split(x.double().numpy(), y.numpy(), strength) for x, y in zip(flat, targets, strict=True)]
    weight, bias = (torch.from_numpy(np.stack(part)).double().to(clips.device) for part in zip(*fits, strict=True))
    if ways == 2:  # one row for two classes there: half of it each way gives the same probabilities
        weight, bias = torch.cat([-weight, weight], 1) / 2, torch.cat([-bias, bias], 1) / 2
    lead = labels.shape[:-1]
    return weight.reshape(*lead, ways, -1), bias.reshape(*lead, ways)


Floats = NDArray[np.floating]


def fit_split(clips: Floats, labels: NDArray[np.int64], strength: float, steps: int = 1000) -> tuple[Floats, Floats]:
    """scikit-learn's logistic regression (L-BFGS) of clips ``(v d)``: weights ``(C d)`` and bias ``(C)``.

    The published recipe of CLIP's repository: mean frames before normalisation, at most 1000 steps.

    Raises:
        ImportError: when scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError(
            "this probe needs scikit-learn: pip install scikit-learn, or use solver='logistic', which does not."
        ) from error
    model = LogisticRegression(C=strength, max_iter=steps, tol=1e-8).fit(clips, labels)
    return model.coef_, model.intercept_


COARSE = (1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6)


def sweep(accuracy: Callable[[float], float], rounds: int = 8) -> float:
    """CoOp's search for C: the best of seven decades, then a binary search on the logarithm around it.

    Args:
        accuracy: of the probe with this C on validation data, never on the data that is reported.
        rounds: of the binary search.

    Returns:
        The C that is left; ties go to the first, and to the lower end.
    """
    best = max(COARSE, key=accuracy)  # max keeps the first of equals
    low, high = math.log10(best) - 1, math.log10(best) + 1
    for _ in range(rounds):
        middle = (low + high) / 2
        if accuracy(10**low) >= accuracy(10**high):
            high = middle
        else:
            low = middle
    return 10 ** (low if accuracy(10**low) >= accuracy(10**high) else high)


def shots_to_match(target: float, curve: Mapping[int, float]) -> float:
    """Labelled clips per class at which the k-shot curve reaches an accuracy, log2-linear between the shots.

    Radford et al. 2021, figure 7.

    Args:
        target: such as the zero-shot accuracy.
        curve: ``{shots: accuracy}``.

    Returns:
        The smallest such number; the smallest number of shots when even that is above the target, infinity when the
        curve stays below it.
    """
    points = sorted(curve.items())
    if points[0][1] >= target:
        return float(points[0][0])
    for (k, low), (more, high) in pairwise(points):
        if low < target <= high:
            share = (target - low) / (high - low)
            return float(2 ** (math.log2(k) + share * (math.log2(more) - math.log2(k))))
    return math.inf
