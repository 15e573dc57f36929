"""How well clips of unknown classes are told, measured: ``fsar test --unknown``.

Some classes of the test split are taken for known, a few clips of each for support, as ``fsar predict`` would have
them. Other clips of theirs must be kept, and clips of the remaining classes should be called unlike all
(:mod:`fsar.inference.threshold`). Every video was encoded for the test already; each draw costs a few comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from episodes.words import pluralise
from fsar.evaluation.bank import VideoBank
from fsar.evaluation.metrics import half_interval
from fsar.inference.support_set import SupportSet
from fsar.inference.threshold import KEEP

DRAWS = 200


class Unknown(Callback):
    """Measures at the end of a test; ``found`` then stands in its result."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse classes that are too few before their clips are encoded,."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        split = data.splits["test"]
        held = {c: [v for v, label in enumerate(split.labels) if label == c] for c in range(len(split.class_names))}
        find_known(held, data.test_ways, data.test_shots)

    @torch.no_grad()
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """While the test's videos are at hand; each process measures the same."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        learner: Any = pl_module
        split = data.splits["test"]
        if learner.bank is None:
            raise ValueError("--unknown needs a test that encodes every video once: leave out limit_test_batches.")
        counts = (data.test_ways, data.test_shots, data.test_queries)
        self.found = measure(learner.bank, split.labels, split.class_names, *counts, data.test_seed, learner.device)


def measure(
    bank: VideoBank,
    labels: Sequence[int],
    names: tuple[str, ...],
    ways: int,
    shots: int,
    queries: int,
    seed: int = 0,
    device: torch.device | None = None,
    draws: int = DRAWS,
    keep: float = KEEP,
) -> dict[str, Any]:
    """Means over draws, each with its 95 % interval: ``auroc``, share of known clips ``kept`` and of unknown ones
    ``rejected``, beside the share of known ones that was ``promised``.

    Args:
        bank: holds videos of the split; those it does not hold are not drawn.
        labels: of all videos of the split.
        names: of all its classes.
        ways: known classes of a draw.
        shots: support clips of each.
        queries: other clips of each known class, at most; and as many clips of unknown classes as of known ones.
        seed: of the draws.
        device: where clips are compared.
        draws: how many.
        keep: see :func:`fsar.inference.threshold.bound`.

    Raises:
        ValueError: when no class is left to be unknown.
    """
    held = {c: [v for v in bank.videos if labels[v] == c] for c in range(len(names))}
    known = find_known(held, ways, shots)
    rows = []
    for number in range(draws):
        rng = np.random.default_rng((seed, number))
        chosen = rng.permutation(known)[:ways].tolist()
        order = [rng.permutation(held[c]).tolist() for c in chosen]
        inside = [video for videos in order for video in videos[shots : shots + queries]]
        others = [video for c, videos in held.items() if c not in chosen for video in videos]
        outside = rng.permutation(others)[: len(inside)].tolist()
        clips = torch.tensor([video for videos in order for video in videos[:shots]])
        which = torch.arange(ways).repeat_interleave(shots)
        support = SupportSet(bank, clips, which, names, torch.tensor(chosen), device)
        rows.append(ask(support, torch.tensor(inside), torch.tensor(outside), keep))
    promised = support.threshold(keep)
    share = promised.promised if promised.checked else 1.0
    return {"draws": draws, "ways": ways, "shots": shots, "promised": share} | _means(rows)


def find_known(held: Mapping[int, Sequence[int]], ways: int, shots: int) -> list[int]:
    """The classes that can be taken for known.

    Args:
        held: videos of each class.
        ways: known classes of a draw.
        shots: support clips of each.

    Raises:
        ValueError: when they are too few, or no class is left to be unknown.
    """
    known = [c for c, videos in held.items() if len(videos) > shots]
    if len(known) < ways or sum(bool(videos) for videos in held.values()) <= ways:
        raise ValueError(
            f"--unknown takes {pluralise(ways, 'class')} of more than {pluralise(shots, 'clip')} for known, and "
            f"needs one more to be unknown; as many clips are there of {len(known)} of the "
            f"{pluralise(len(held), 'test class')}. Lower --data.test_ways or --data.test_shots."
        )
    return known


def ask(support: SupportSet, known: Tensor, unknown: Tensor, keep: float) -> tuple[float, float, float]:
    """AUROC, share of the ``known (q)`` clips kept and of the ``unknown (r)`` ones rejected, of one support."""
    least = [-torch.inf if one is None else one for one in support.threshold(keep).bounds.values()]
    found = support.ask(torch.cat([known, unknown])).few_shot[0].float().cpu()
    unlike = (found < torch.tensor(least)).all(-1)
    near, far = found.amax(-1).tensor_split([len(known)])
    return area(near, far), _share(~unlike[: len(known)]), _share(unlike[len(known) :])


def area(known: Tensor, unknown: Tensor) -> float:
    """How often a known clip is more similar than an unknown one: the area under the ROC curve, ties for half.

    Examples:
        >>> area(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0]))
        0.625
    """
    above = known[:, None] - unknown
    return float(((above > 0).double() + 0.5 * (above == 0)).mean())


def describe(found: dict[str, Any]) -> str:
    """In a sentence or two."""
    auroc, kept, rejected = ((found[key], found[f"{key}_interval_95"]) for key in ("auroc", "kept", "rejected"))
    start = (
        f"unlike all ({pluralise(found['draws'], 'draw')} of {found['ways']} known classes, "
        f"{pluralise(found['shots'], 'clip')} each): AUROC {auroc[0]:.3f} ± {auroc[1]:.3f}, "
    )
    if found["promised"] == 1:
        return f"{start}but with so few clips nothing is called unlike all."
    return (
        f"{start}{100 * kept[0]:.1f} ± {100 * kept[1]:.1f} % of known clips kept ({100 * found['promised']:.0f} % "
        f"promised), {100 * rejected[0]:.1f} ± {100 * rejected[1]:.1f} % of unknown ones rejected"
    )


def _share(which: Tensor) -> float:
    return float(which.float().mean())


def _means(rows: list[tuple[float, float, float]]) -> dict[str, float]:
    """Of the columns of ``rows``, with intervals over draws: clips of one draw share their support."""
    table = np.array(rows)
    spread = table.std(0, ddof=1) if len(table) > 1 else np.full(3, np.nan)
    found: dict[str, float] = {}
    for name, mean, deviation in zip(("auroc", "kept", "rejected"), table.mean(0), spread, strict=True):
        found |= {name: float(mean), f"{name}_interval_95": half_interval(float(deviation), len(table))}
    return found
