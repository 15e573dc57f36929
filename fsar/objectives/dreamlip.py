"""DreamLIP: the frames or patches that a description speaks of, gathered and held against it.

Zheng et al. 2024, "DreamLIP: Language-Image Pre-training with Long Captions", https://arxiv.org/abs/2403.17007,
section 3.3. With unit tokens u ``(P d)`` of a clip and unit descriptions t ``(m d)`` of its class::

    s_jp = t_j · u_p;   ŝ = (s - min_p s) / (max_p s - min_p s);   ŝ = 0 below the threshold;   w = ŝ / Σ_p ŝ
    g_j = L2n(Σ_p w_jp u_p);   loss = symmetric contrast of all {g_j} with all {t_j} of the batch

The release's threshold is a number, 0 as shipped, or 1/P. Its reshape pairs texts and clips wrongly for ``m > 1``; here
they are paired as the paper says. Its softmax has no temperature.

"monotone" is ours, for steps in the order in which they happen: the segments of

    dp_j(p) = max(dp_j(p - 1), dp_{j-1}(p - 1)) + s_jp,   dp_0(0) = s_00,   every step one token at least

weigh their tokens evenly; the path is found without a gradient. Clips of one class are positives of each other's
descriptions, never negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from episodes.words import pluralise
from fsar.objectives.base import Objective, Step
from fsar.objectives.clip import Scale
from fsar.objectives.multi_positive import both_directions
from fsar.text.bank import TextBank
from fsar.text.kinds import Kind, check_kinds

Mode = Literal["minmax", "softmax", "monotone"]
Threshold = float | Literal["1/P"]


def weigh_minmax(similarity: Tensor, threshold: Threshold = 0.0) -> Tensor:
    """Weights ``(... m P)`` that add up to 1 over the tokens; even ones where all tokens are alike."""
    least = 1 / similarity.shape[-1] if threshold == "1/P" else float(threshold)
    low, high = similarity.amin(-1, keepdim=True), similarity.amax(-1, keepdim=True)  # aminmax has no gradient in 2.8
    span = high - low
    flat = span <= torch.finfo(similarity.dtype).tiny
    share = torch.where(flat, torch.ones_like(similarity), (similarity - low) / span.masked_fill(flat, 1))
    share = share.masked_fill(share < least, 0)
    return share / share.sum(-1, keepdim=True)


def too_few_tokens(steps: int, tokens: int) -> str:
    """Why a path through so many steps cannot be."""
    return (
        f"{steps} steps in order cannot share {pluralise(tokens, 'frame')}: every step needs one; give clips more "
        "frames (data.frames) or classes fewer steps, or use mode minmax."
    )


def monotone_path(similarity: Tensor, counts: Tensor | None = None) -> Tensor:
    """The step ``(... P)`` that each token belongs to, on the best path from the first step to the last.

    Args:
        similarity: ``(... m P)``; tokens in the order of time.
        counts: ``(...)``, how many of the ``m`` steps there are; all when not given.

    Raises:
        ValueError: fewer tokens than steps.

    >>> monotone_path(torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.7]]))  # two steps, three frames
    tensor([0, 0, 1])
    """
    m, tokens = similarity.shape[-2:]
    last = similarity.new_full(similarity.shape[:-2], m, dtype=torch.int64) if counts is None else counts
    if int(last.max()) > tokens:
        raise ValueError(too_few_tokens(int(last.max()), tokens))
    similarity = similarity.detach()
    best = torch.cat([similarity[..., :1, 0], similarity.new_full((*similarity.shape[:-2], m - 1), -torch.inf)], -1)
    came = []
    for p in range(1, tokens):
        before = torch.cat([torch.full_like(best[..., :1], -torch.inf), best[..., :-1]], -1)
        came.append(before > best)
        best = torch.maximum(best, before) + similarity[..., p]
    step = (last - 1)[..., None]
    path = [step]
    for moved in reversed(came):
        step = step - moved.gather(-1, step).long()
        path.append(step)
    return torch.cat(path[::-1], -1)


def weigh_monotone(similarity: Tensor, counts: Tensor | None = None) -> Tensor:
    """Weights ``(... m P)``: the segment of each step on :func:`monotone_path`, evenly; zeros for steps not there."""
    path = monotone_path(similarity, counts)
    steps = torch.arange(similarity.shape[-2], device=similarity.device)
    segment = (path[..., None, :] == steps[:, None]).to(similarity.dtype)
    return segment / segment.sum(-1, keepdim=True).clamp_min(1)


def group_tokens(tokens: Tensor, weights: Tensor) -> Tensor:
    """``g (... m d)`` of unit length from unit tokens ``(... P d)`` and weights ``(... m P)``."""
    return normalize(weights @ tokens, dim=-1)


def grouping_loss(
    grouped: Tensor,
    texts: Tensor,
    scale: Tensor | float,
    rows: Tensor | None = None,
    mask: Tensor | None = None,
    negatives: Literal["batch", "within"] = "batch",
) -> Tensor:
    """Symmetric contrast of what was gathered for each description with the descriptions.

    Args:
        grouped: ``(b m d)`` of unit length, for the descriptions of each clip's class.
        texts: ``(n m d)`` of unit length.
        scale: factor of the cosines.
        rows: ``(b)`` the class of each clip; clip i is of class i when not given.
        mask: ``(n m)`` bool, which descriptions there are; all when not given.
        negatives: all descriptions of the batch, or the others of the clip's own class, which is unstable.

    >>> grouped = torch.eye(2)[:, None]  # two clips, a description each
    >>> grouping_loss(grouped, grouped, scale=100.0)
    tensor(0.)
    """
    b, m = grouped.shape[:2]
    rows = torch.arange(b, device=grouped.device) if rows is None else rows
    there = torch.ones(texts.shape[:2], dtype=torch.bool, device=texts.device) if mask is None else mask
    if negatives == "within":
        logits = (scale * grouped @ texts[rows].mT).masked_fill(~there[rows][:, None], -torch.inf)
        own = torch.eye(m, dtype=torch.bool, device=texts.device) & there[rows][:, None]
        kept = [both_directions(x[k][:, k], p[k][:, k]) for x, p, k in zip(logits, own, there[rows], strict=True)]
        return torch.stack(kept).mean()
    kept_rows, columns = there[rows].flatten(), there.flatten()
    logits = scale * grouped.flatten(0, 1)[kept_rows] @ texts.flatten(0, 1)[columns].mT
    place = torch.arange(there.numel(), device=texts.device).view_as(there)
    positive = place[rows].flatten()[kept_rows][:, None] == place.flatten()[columns]
    return both_directions(logits, positive)


class SubCaptionGrouping(Objective):
    """DreamLIP's loss between gathered tokens and descriptions; with ``mode: monotone`` for steps in order.

    Args:
        mode: how tokens are weighed for a description.
        tokens: which tokens.
        negatives: of all descriptions of the step, or of the own class alone.
        threshold: of ``minmax``, on the scale 0..1, or "1/P".
        texts: what is said about a class; give it a file or a pack.
        kinds: which of it; ["step"] when ``mode`` is monotone and ["description"] otherwise, when not given.
        scale: initial value of the learned factor.
        weight: of the loss.

    Raises:
        ValueError: monotone over patches or over texts that are no steps.

    >>> sorted(SubCaptionGrouping(kinds=["template"])(step))  # that of fsar.objectives
    ['loss']
    """

    name = "grouping"

    def __init__(
        self,
        mode: Mode = "minmax",
        tokens: Literal["frames", "patches"] = "frames",
        negatives: Literal["batch", "within"] = "batch",
        threshold: float | Literal["1/P"] = 0.0,
        texts: TextBank | None = None,
        kinds: Sequence[Kind] | None = None,
        scale: float = 14.3,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        usual: tuple[Kind, ...] = ("step",) if mode == "monotone" else ("description",)
        self.kinds = usual if kinds is None else check_kinds(kinds, type(self).__name__)
        if mode == "monotone" and (tokens == "patches" or self.kinds != ("step",)):
            raise ValueError(
                "SubCaptionGrouping: mode monotone follows steps through time: use tokens frames and kinds [step], "
                f"found tokens {tokens} and kinds {list(self.kinds)}."
            )
        if threshold != "1/P" and not 0 <= threshold < 1:
            raise ValueError(f"SubCaptionGrouping: threshold must lie in 0..1 or be 1/P, found {threshold}.")
        self.mode, self.tokens, self.negatives, self.threshold = mode, tokens, negatives, threshold
        self.needs = self.needs_joint = (tokens,)
        self.texts = TextBank() if texts is None else texts
        self.scale = Scale(scale)

    def check_classes(self, names: Sequence[str], frames: int) -> None:
        super().check_classes(names, frames)
        if self.mode == "monotone":
            steps, name = max((len(self.texts.texts(name, self.kinds)), name) for name in names)
            if steps > frames:
                raise ValueError(f"SubCaptionGrouping, class {name!r}: {too_few_tokens(steps, frames)}")

    def weigh(self, tokens: Tensor, texts: Tensor, mask: Tensor) -> Tensor:
        """Weights ``(b m P)`` of unit tokens ``(b P d)`` for unit texts ``(b m d)``, those of ``mask (b m)``."""
        similarity = texts @ tokens.mT
        if self.mode == "softmax":
            return similarity.softmax(-1)
        if self.mode == "monotone":
            return weigh_monotone(similarity, mask.sum(-1))
        return weigh_minmax(similarity, self.threshold)

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts, mask = step.texts(self.texts, self.kinds)
        tokens = normalize(step.tokens(self.tokens), dim=-1)
        grouped = group_tokens(tokens, self.weigh(tokens, texts[step.rows], mask[step.rows]))
        scale = self.scale(torch.ones((), device=texts.device))
        return {"loss": grouping_loss(grouped, texts, scale, step.rows, mask, self.negatives)}
