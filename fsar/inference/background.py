"""The background text that ViLD's objective learned, in the place of the bound on similarities.

It says of a clip how likely it is of none of the classes, by their texts alone, so every support clip is to it what a
new clip of its class is: none has to be left out, and one clip of a class does. The bound makes the same promise as
that of :mod:`fsar.inference.threshold`, on the log-odds of the classes against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fsar.inference.threshold import Threshold, bound
from fsar.objectives import BackgroundText


def learned_background(learner: Any, held: Mapping[str, Tensor]) -> BackgroundText | None:
    """The background text of a learner whose weights ``held`` holds, if it was trained with one."""
    for number, each in enumerate(learner.objectives):
        if isinstance(each, BackgroundText) and f"objectives.{number}.background" in held:
            return each
    return None


def judge(known: Tensor, support: Tensor, labels: Tensor, names: tuple[str, ...], keep: float) -> Threshold:
    """The bound on the log-odds, one for all classes.

    Args:
        known: ``(s)`` those of each support clip, among the texts of all classes.
        support: ``(s)`` the same without the text of its own class: that of a clip of none.
        labels: ``(s)`` of the support clips.
        names: of the classes.
        keep: share of new clips that is kept.

    >>> known, support = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.1, 0.2, 0.75])
    >>> found = judge(known, support, torch.tensor([0, 0, 1]), ("sit", "jump"), 0.75)
    >>> round(found.bounds["sit"], 6), found.refused
    (0.7, 2)
    """
    least = bound(known.tolist(), keep)
    refused = 0 if least is None else int((support.double() < least).sum())
    return Threshold(dict.fromkeys(names, least), keep, len(labels), refused, len(labels), learned=True)


@torch.no_grad()
def ask(
    background: BackgroundText, tower: Any, videos: Tensor, labels: Tensor, names: tuple[str, ...], keep: float
) -> tuple[Tensor, Threshold]:
    """Log-odds of all videos, and the bound from the support clips.

    Args:
        background: trained.
        tower: the text tower.
        videos: ``(s+q d)`` unit means of the clips' frames, the support clips first.
        labels: ``(s)`` of the support clips.
        names: of the classes.
        keep: see :func:`judge`.
    """
    texts = background.encode_names(tower, names).to(videos.device)
    known = background.log_odds(videos, texts).double().cpu()
    shown = videos[: len(labels)]
    without = [texts[torch.arange(len(names)) != label] for label in labels.tolist()]
    foreign = [background.log_odds(one, rest).double().cpu() for one, rest in zip(shown, without, strict=True)]
    return known, judge(known[: len(labels)], torch.stack(foreign), labels, names, keep)
