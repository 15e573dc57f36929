"""Transductive refinement: the queries of an episode, unlabelled, mend its prototypes or one another's scores.

Nothing is trained and no clip is encoded anew: what is refined are the frames of queries ``(... q t d)`` and prototypes
``(... n t d)`` that a method's alignment compares. Scores of a query then depend on which others stand in its episode,
and on how many of each class: results carry the mark "transductive". With s(q, c) the alignment's similarity:

Pseudo-labels (self-training, as in Lee 2013, "Pseudo-Label", ICML workshop on challenges in representation learning): a
query that is surely of a class counts as a shot of it, the others as nothing::

    p(c | q) = softmax_c(λ s(q, c) / σ)
    P_c <- mean of the class's shots and of the queries that are named c with p above the threshold    (some rounds)

TRACE ("Closing the Estimation Gap", 2026, https://github.com/hisalaheiyo/TRACE), two steps, by its released code::

    P_c   <- mean of the class's shots and of the queries that are named c with probability above 0.5    (3 rounds)
    W     =  (P + P_0) / 2, then 100 steps of Adam on   CE(P_0, classes) + 0.1 H(Y|X) - 1 H(Y)    over the queries
    logits = 15 s(q, W)

H(Y|X) is the queries' mean entropy, H(Y) the entropy of their mean probability (TIM, https://arxiv.org/abs/2008.11297).
Released: vectors of one clip and cosine; here frames and any alignment, and the shots' mean stands for the shots in CE
(the same with one shot).

Laplacian (LaplacianShot, https://arxiv.org/abs/2006.15486, eq. 10), w(q, p) = 1 for the k queries p nearest to q::

    y_q <- softmax(s(q, ·) / σ + λ Σ_p w(q, p) y_p)

Transport (PT-MAP, https://arxiv.org/abs/2006.03806, section 3.2, without its power transform)::

    M   = Sinkhorn(exp(λ s / σ)), rows of sum 1, columns of sum q / n
    P_c <- P_c + α (mean by M of shots and queries - P_c)

σ is the deviation of the episode's similarities over its classes, so that λ means the same for every alignment.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

Compare = Callable[[Tensor, Tensor], Tensor]
"""Frames ``(... q t d)`` and ``(... n t d)`` to similarities ``(... q n)``."""


class Refinement(nn.Module):
    """Base of those below; a subclass writes :meth:`forward`."""

    reads_labels = False
    """True for a bound that reads what nobody knows."""

    def forward(self, query: Tensor, prototypes: Tensor, shots: Tensor, compare: Compare, labels: Tensor) -> Tensor:
        """Refined logits ``(... q n)``.

        Args:
            query: frames ``(... q t d)``.
            prototypes: frames ``(... n t d)``.
            shots: ``(... n)``, how many clips each prototype is the mean of.
            compare: the alignment.
            labels: ``(... q)``, true classes; for :class:`Oracle` alone.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define forward(query, prototypes, shots, compare, labels)."
        )


def add_to_means(prototypes: Tensor, shots: Tensor, query: Tensor, share: Tensor) -> Tensor:
    """Means ``(... n t d)`` of shots and queries.

    Args:
        prototypes: ``(... n t d)``, means of the shots.
        shots: ``(... n)``.
        query: ``(... q t d)``.
        share: ``(... q n)``, how much of a query each class gets.
    """
    weight = share.mT.to(query)  # (... n q)
    total = (weight @ query.flatten(-2)).unflatten(-1, query.shape[-2:])
    count = shots.to(query)[..., None, None]
    return (count * prototypes + total) / (count + weight.sum(-1)[..., None, None])


def spread_over_classes(similarity: Tensor) -> Tensor:
    """``(... 1 1)`` root mean square of similarities ``(... q n)`` about each query's mean."""
    about = similarity - similarity.mean(-1, keepdim=True)
    return about.square().mean((-2, -1), keepdim=True).sqrt().clamp_min(1e-6)


def sure_of(probability: Tensor, threshold: float) -> Tensor:
    """``(... q n)``: 1 where a class is the likeliest of a query and likelier than the threshold, else 0."""
    sure, guess = probability.max(-1, keepdim=True)
    return torch.zeros_like(probability).scatter(-1, guess, (sure > threshold).to(probability))


def sinkhorn(scores: Tensor, iterations: int = 50) -> Tensor:
    """``exp(scores) (... q n)`` scaled to rows of sum 1 and columns of sum q / n, in logarithms."""
    ways, queries = scores.shape[-1], scores.shape[-2]
    log = scores
    target = torch.tensor(queries / ways).log().to(scores)
    for _ in range(iterations):
        log = log - log.logsumexp(-2, keepdim=True) + target
        log = log - log.logsumexp(-1, keepdim=True)
    return log


class PseudoLabels(Refinement):
    """Queries that are surely of a class join its support, see above.

    Args:
        threshold: of the probability above which a query joins, TRACE's; 1 for none.
        rounds: of naming and joining; in each the queries are named anew, and who joined before may leave.
        weight: λ.

    Raises:
        ValueError: a threshold that is no probability, no round, a weight that is not above 0.
    """

    def __init__(self, threshold: float = 0.5, rounds: int = 3, weight: float = 3.0) -> None:
        super().__init__()
        if not 0 <= threshold <= 1 or rounds < 1 or not weight > 0:
            raise ValueError(
                "PseudoLabels: threshold is a probability from 0 to 1, rounds 1 or more, weight above 0; found "
                f"threshold={threshold}, rounds={rounds}, weight={weight}."
            )
        self.threshold, self.rounds, self.weight = threshold, rounds, weight

    def join(self, query: Tensor, prototypes: Tensor, compare: Compare) -> Tensor:
        """Whether each query joins each class, ``(... q n)``, 0 or 1."""
        similarity = compare(query, prototypes)
        return sure_of((self.weight * similarity / spread_over_classes(similarity)).softmax(-1), self.threshold)

    def forward(self, query: Tensor, prototypes: Tensor, shots: Tensor, compare: Compare, labels: Tensor) -> Tensor:
        mended = prototypes
        for _ in range(self.rounds):
            mended = add_to_means(prototypes, shots, query, self.join(query, mended, compare))
        return compare(query, mended)


class Trace(Refinement):
    """TRACE's two steps, see above.

    Args:
        scale: of similarities as logits; 15 is for cosines, as FrameMean gives them.
        threshold: of the probability above which a query counts for a class.
        rounds: of mending prototypes.
        blend: share of the mended prototypes at the start of the second step.
        confident: weight of the queries' entropy.
        balanced: weight of the entropy of their mean: that classes are as frequent.
        steps: of Adam; 0 leaves the second step out.
        lr: of Adam.
    """

    def __init__(
        self,
        scale: float = 15.0,
        threshold: float = 0.5,
        rounds: int = 3,
        blend: float = 0.5,
        confident: float = 0.1,
        balanced: float = 1.0,
        steps: int = 100,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.scale, self.threshold, self.rounds, self.blend = scale, threshold, rounds, blend
        self.confident, self.balanced, self.steps, self.lr = confident, balanced, steps, lr

    def mend(self, query: Tensor, prototypes: Tensor, shots: Tensor, compare: Compare) -> Tensor:
        """Prototypes with the queries that are surely of their class."""
        mended = prototypes
        for _ in range(self.rounds):
            sure = sure_of((self.scale * compare(query, mended)).softmax(-1), self.threshold)
            mended = add_to_means(prototypes, shots, query, sure)
        return mended

    def objective(self, start: Tensor, query: Tensor, weights: Tensor, compare: Compare) -> Tensor:
        """What the second step minimises, a number for each episode ``(...)``."""
        own = (self.scale * compare(start, weights)).log_softmax(-1).diagonal(dim1=-2, dim2=-1).mean(-1)
        log = (self.scale * compare(query, weights)).log_softmax(-1)
        uncertain = -(log.exp() * log).sum(-1).mean(-1)
        shares = log.exp().mean(-2)
        even = -(shares * (shares + 1e-12).log()).sum(-1)
        return -own + self.confident * uncertain - self.balanced * even

    def forward(self, query: Tensor, prototypes: Tensor, shots: Tensor, compare: Compare, labels: Tensor) -> Tensor:
        mended = self.mend(query, prototypes, shots, compare)
        weights = (self.blend * mended + (1 - self.blend) * prototypes).detach().clone()
        if self.steps:
            query, start = query.detach(), prototypes.detach()
            with torch.enable_grad():
                weights.requires_grad_(True)
                adam = torch.optim.Adam([weights], lr=self.lr)
                for _ in range(self.steps):
                    adam.zero_grad()
                    self.objective(start, query, weights, compare).sum().backward()
                    adam.step()
        return self.scale * compare(query, weights.detach())


class Laplacian(Refinement):
    """Queries that are alike get like answers, see above.

    Args:
        neighbours: k; all others where an episode has fewer.
        weight: λ.
        iterations: of the update.
    """

    def __init__(self, neighbours: int = 3, weight: float = 1.0, iterations: int = 20) -> None:
        super().__init__()
        self.neighbours, self.weight, self.iterations = neighbours, weight, iterations

    def forward(self, query: Tensor, prototypes: Tensor, shots: Tensor, compare: Compare, labels: Tensor) -> Tensor:
        similarity = compare(query, prototypes)
        own = similarity / spread_over_classes(similarity)
        count = min(self.neighbours, query.shape[-3] - 1)
        if count < 1:
            return own
        alike = compare(query, query)
        alike = alike.masked_fill(torch.eye(alike.shape[-1], dtype=torch.bool, device=alike.device), -torch.inf)
        near = one_hot(alike.topk(count, -1).indices, alike.shape[-1]).sum(-2).to(own)  # (... q q)
        logits = own
        for _ in range(self.iterations):
            logits = own + self.weight * near @ logits.softmax(-1)
        return logits


class Transport(Refinement):
    """Queries are shared out over the classes evenly, and prototypes follow them, see above. Where classes are not as
    frequent, that is wrong: ``even: false`` shares by probability alone (soft k-means).

    Args:
        weight: λ.
        step: α.
        iterations: of sharing and moving.
        even: classes have as many queries.
    """

    def __init__(self, weight: float = 3.0, step: float = 0.4, iterations: int = 10, even: bool = True) -> None:
        super().__init__()
        self.weight, self.step, self.iterations, self.even = weight, step, iterations, even

    def forward(self, query: Tensor, prototypes: Tensor, shots: Tensor, compare: Compare, labels: Tensor) -> Tensor:
        moved = prototypes
        for _ in range(self.iterations):
            log = self.share(query, moved, compare)
            moved = moved + self.step * (add_to_means(prototypes, shots, query, log.exp()) - moved)
        return self.share(query, moved, compare)

    def share(self, query: Tensor, prototypes: Tensor, compare: Compare) -> Tensor:
        """Logarithms of how much of each query a class gets, ``(... q n)``."""
        similarity = compare(query, prototypes)
        scores = self.weight * similarity / spread_over_classes(similarity)
        return sinkhorn(scores) if self.even else scores.log_softmax(-1)


class Oracle(Refinement):
    """No method: prototypes of the shots and of all queries by their true classes, what refinement could reach at best
    (TRACE's TUB-P, which keeps half of the queries out; here a query is in its own prototype)."""

    reads_labels = True

    def forward(self, query: Tensor, prototypes: Tensor, shots: Tensor, compare: Compare, labels: Tensor) -> Tensor:
        share = one_hot(labels, prototypes.shape[-3])
        return compare(query, add_to_means(prototypes, shots, query, share))
