"""One head on one division of the classes: trained at several learning rates, compared with its untrained self."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from episodes.dataset import index_episodes
from episodes.parts import TaskOptions
from fsar.evaluation.bank import score_episodes
from fsar.evaluation.comparing.tables import Right
from fsar.method import Method
from fsar.ranking.pool import Part, Pool

Division = Mapping[str, Sequence[str]]
"""Names of the classes of ``train``, ``val`` and ``test``."""
SCORED_TOGETHER = 100


@dataclass(frozen=True, eq=False)
class Trial:
    """What one head did on one division.

    Args:
        before: ``(e)`` share of the queries that the untrained head names right, in each test episode.
        after: ``(e)`` the same once it is trained.
        rate: the learning rate; 0 where nothing is trained.
        validation: accuracy on validation classes by rate.
        weights: numbers that are trained.
        train_seconds: of a training episode, processor time.
        test_seconds: of a test episode, once its clips have passed the head.
        kept_bytes: what a training episode keeps for its gradient.
        share: of all classes that are tested on.
    """

    before: Right
    after: Right
    rate: float
    validation: dict[str, float]
    weights: int
    train_seconds: float
    test_seconds: float
    kept_bytes: int
    share: float


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """While it is entered, counts the bytes that autograd keeps for a gradient, the weights left out."""

    def __init__(self, module: nn.Module) -> None:
        own = {p.untyped_storage().data_ptr() for p in module.parameters()}
        self.sizes: dict[int, int] = {}

        def keep(x: Tensor) -> Tensor:
            place = x.untyped_storage().data_ptr()
            if place not in own:
                self.sizes[place] = x.untyped_storage().nbytes()
            return x

        super().__init__(keep, lambda x: x)


def try_head(
    make: Callable[[], Method],
    pool: Pool,
    division: Division,
    task: TaskOptions,
    rates: Sequence[float],
    device: torch.device,
) -> Trial:
    """Train a head once for every rate, keep the one that is best on validation classes, test it before and after.

    Args:
        make: the untrained method, the same weights each time.
        pool: of the clips.
        division: of its classes.
        task: ways, shots, queries, seeds, and how many episodes of each kind there are.
        rates: learning rates; the first is taken where there are no validation classes.
        device: to compute on.
    """
    parts = {name: pool.part(name, classes) for name, classes in division.items()}
    share = len(division["test"]) / len(pool.split.class_names)
    method = make().to(device)
    before, test_seconds = share_right(method, pool, parts["test"], task, device)
    weights = sum(p.numel() for p in method.parameters() if p.requires_grad)
    if not weights:
        return Trial(before, before, 0.0, {}, 0, 0.0, test_seconds, 0, share)
    train_seconds, kept = 0.0, 0
    found: dict[float, tuple[float, Method]] = {}
    for rate in rates:
        method = make().to(device)
        train_seconds, kept = train_head(method, pool, parts["train"], task, rate, device)
        found[rate] = (validate(method, pool, parts["val"], task, device), method)
    best = max(found, key=lambda rate: found[rate][0])  # the first of equal ones
    after, _ = share_right(found[best][1], pool, parts["test"], task, device)
    validation = {f"{rate:g}": accuracy for rate, (accuracy, _) in found.items()}
    return Trial(before, after, best, validation, weights, train_seconds, test_seconds, kept, share)


def train_head(
    method: Method, pool: Pool, part: Part, task: TaskOptions, rate: float, device: torch.device
) -> tuple[float, int]:
    """Adam with a cosine schedule, one episode a step; gives seconds an episode, and bytes that the first one keeps.

    Raises:
        FloatingPointError: when the loss is no number any more.
    """
    torch.manual_seed(task.seed)  # dropout
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.train_episodes)
    sampler = task.draw(part.split, training=True)
    method.train()
    kept, start = Kept(method), time.process_time()
    for number in range(task.train_episodes):
        episode = pool.episode(part, sampler, np.array([number]), method.needs).to(device)
        with kept if number == 0 else torch.enable_grad():
            loss = method.loss(method(episode), episode)["loss"]
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"{type(method).__name__}: the loss of training episode {number} is {loss.item()} at the learning rate "
                f"{rate:g}. Leave this rate out."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return (time.process_time() - start) / task.train_episodes, sum(kept.sizes.values())


@torch.no_grad()
def share_right(method: Method, pool: Pool, part: Part, task: TaskOptions, device: torch.device) -> tuple[Right, float]:
    """``(e)`` share of the queries named right in each test episode of a part, and seconds an episode."""
    method.eval()
    bank, sampler, hits = pool.bank(method, part, device), task.draw(part.split), []
    start = time.process_time()
    for numbers in np.array_split(np.arange(task.test_episodes), -(-task.test_episodes // SCORED_TOGETHER)):
        episodes: Any = index_episodes(sampler, numbers).to(device)
        right = score_episodes(bank, episodes).logits.argmax(-1) == episodes.query_labels
        hits.append(right.double().mean(-1).cpu())
    return torch.cat(hits).numpy(), (time.process_time() - start) / task.test_episodes


def validate(method: Method, pool: Pool, part: Part, task: TaskOptions, device: torch.device) -> float:
    """Accuracy on validation episodes, of as many ways as there are classes where these are few; 0 without any."""
    if len(part.split.class_names) < 2:
        return 0.0
    ways = min(task.test_ways or task.ways, len(part.split.class_names))
    own = replace(task, test_ways=ways, test_episodes=task.val_episodes)
    return float(share_right(method, pool, part, own, device)[0].mean())


def probe_many_shots(probe: Method, pool: Pool, division: Division, task: TaskOptions, device: torch.device) -> Trial:
    """A probe of the test classes with as many shots as they have clips to spare: what the features hold."""
    part = pool.part("test", division["test"])
    shots = int(min(np.bincount(part.split.labels))) - task.test_queries
    right, seconds = share_right(probe.to(device), pool, part, replace(task, test_shots=shots), device)
    share = len(division["test"]) / len(pool.split.class_names)
    return Trial(right, right, 0.0, {}, 0, 0.0, seconds, 0, share)
