"""FR-Disc: a discriminator sees what is left of a query without the prototype of its likeliest class.

"Beyond Closed-Set Assumptions: Benchmarking and Adapting Few-Shot Action Recognition for Open-Set Scenarios" (FSOSAR),
https://arxiv.org/abs/2603.04125; read in the released code, hsp-iit/fsosar (BSD-3)::

    ĉ = argmax_c logits (... q n)                       the likeliest class
    r = √d (u(f_q) - u(p_ĉ))  (... q d)                 u: mean over the frames, to unit length
    P(known) = σ(MLP(r)),  MLP: d -> 2d -> d -> 64 -> 1, ReLU between
    loss = BCE(known queries that are named right, 1) + BCE(unknown ones, 0), both of the same weight

It is trained on episodes of base classes, some of which are shown and some play the unknown ones. Known queries that
are named wrong teach nothing. Departures from the code: the prototypes stay as the method gives them (there both are
trained together, the BCE with weight 10), so that any method with prototypes can be given a rejecter on stored
features; u and √d, so that the scale of an encoder does not matter; all unknown queries count, where the code takes
the first of them, as many as known ones are named right; Adam in place of SGD. STRM's residual there is of each pair of
frames, with another MLP; this one is that of OTAM and SAFSAR.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from fsar.evaluation.protocols.ground import Ground, Tasks, Values

AT_ONCE = 16
"""Episodes of a step; STRM's configuration accumulates as many."""


def leftover(query: Tensor, prototypes: Tensor, likeliest: Tensor) -> Tensor:
    """What is left of the queries, ``(... q d)``.

    Args:
        query: frames ``(... q t d)``.
        prototypes: frames ``(... n t d)``, or ``(... n k t d)`` where an alignment merges shots itself.
        likeliest: ``(... q)`` each query's class.

    >>> q, p = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
    >>> leftover(q, p, torch.tensor([1]))  # √2 ((1, 0) - (0, 1))
    tensor([[ 1.4142, -1.4142]])
    """
    if prototypes.dim() > query.dim():
        prototypes = prototypes.mean(-3)
    of_query, of_class = (normalize(x.float().mean(-2), dim=-1) for x in (query, prototypes))
    chosen = of_class.gather(-2, likeliest[..., None].expand(*likeliest.shape, of_class.shape[-1]))
    return of_query.shape[-1] ** 0.5 * (of_query - chosen)


class Discriminator(nn.Sequential):
    """Logits ``(...)`` of being known for what is left of queries, ``(... d)``."""

    def __init__(self, channels: int) -> None:
        sizes = (channels, 2 * channels, channels, 64, 1)
        layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        super().__init__(*layers[:-1], nn.Flatten(-2))


def discriminate(logits: Tensor, known: Tensor, right: Tensor) -> Tensor:
    """The loss of queries ``(... q)``: half of it from known ones that are named right, half from unknown ones.

    Args:
        logits: of being known.
        known: bool, the query's class is shown.
        right: bool, a known query is named right.
    """
    taught, strange = (known & right), ~known
    of_known = -(logsigmoid(logits) * taught).sum() / taught.sum().clamp(min=1)
    of_unknown = -(logsigmoid(-logits) * strange).sum() / strange.sum().clamp(min=1)
    return of_known + of_unknown


def train(ground: Ground, tasks: Tasks, seed: int = 0, rate: float = 1e-3) -> Discriminator:
    """A discriminator for the method of some ground.

    Args:
        ground: with the videos of the base classes.
        tasks: open-set episodes of them; queries of unknown classes have label -1.
        seed: of its weights.
        rate: of learning.

    Raises:
        ValueError: for a method without prototypes.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found: Discriminator | None = None
        for start in range(0, len(tasks.classes), AT_ONCE):
            some = Tasks(*(x[start : start + AT_ONCE] for x in tasks))
            left, likeliest = _leftover_of(ground, some)
            if found is None:
                found = Discriminator(left.shape[-1]).to(left.device)
                optimizer = torch.optim.Adam(found.parameters(), rate)
            truth = torch.from_numpy(some.query_labels).to(left.device)
            loss = discriminate(found(left), truth >= 0, likeliest == truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert found is not None
    return found.eval()


@torch.no_grad()
def judge(ground: Ground, discriminator: Discriminator, tasks: Tasks) -> Values:
    """Probability ``(e q)`` that a query's class is shown."""
    found = []
    for start in range(0, len(tasks.classes), AT_ONCE):
        left, _ = _leftover_of(ground, Tasks(*(x[start : start + AT_ONCE] for x in tasks)))
        found.append(discriminator(left).sigmoid().cpu())
    probabilities: Values = torch.cat(found).double().numpy()
    return probabilities


def _leftover_of(ground: Ground, tasks: Tasks) -> tuple[Tensor, Tensor]:
    """What is left of the queries ``(e q d)``, and their likeliest classes ``(e q)``."""
    pair = None if ground.compare is None else ground.compare(tasks)
    if pair is None:
        raise ValueError(
            f"FR-Disc looks at a query's frames beside a class's prototype, and {type(ground.method).__name__} has "
            "none: leave out --fr-disc, or take a method such as Prototype."
        )
    query, prototypes = pair
    likeliest = torch.from_numpy(ground.score(tasks).argmax(-1)).to(query.device)
    return leftover(query, prototypes, likeliest), likeliest
