"""The background text that ViLD's objective learned, as what tells that a clip is of none of the classes shown."""

from __future__ import annotations

import numpy as np
import torch

from fsar.evaluation.protocols.ground import Ground, Tasks, Values
from fsar.objectives import BackgroundText


@torch.no_grad()
def judge(ground: Ground, objective: BackgroundText, tasks: Tasks) -> Values:
    """Probability ``(e q)`` that a query is of one of the episode's classes: 1 - P(background) among their texts.

    Args:
        ground: with the means of the videos' frames.
        objective: trained.
        tasks: the episodes.

    Raises:
        ValueError: where no means were kept; an encoder without a text tower.
    """
    tower = ground.method.encoder.text
    if ground.means is None or tower is None:
        raise ValueError("the background text is compared with the frames of an encoder that has a text tower.")
    means = ground.means()
    texts = objective.encode_names(tower, ground.class_names).to(means.device)
    found = []
    for classes, query in zip(tasks.classes, tasks.query, strict=True):
        videos = means[torch.from_numpy(query).to(means.device)]
        shown = texts[torch.from_numpy(classes).to(means.device)]
        found.append(1 - objective.unlike_all(videos, shown).double().cpu().numpy())
    return np.stack(found)
