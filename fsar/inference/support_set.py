"""What the support clips say of a method: each is left out of its class and asked about, as a new clip would be.

From the answers come the temperature that makes its probabilities come true, and the bounds below which a clip is
unlike all classes (:mod:`fsar.inference.threshold`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from episodes.clips import Streams
from episodes.episode import IndexEpisode
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.evaluation.calibration import Calibration, fit_temperature
from fsar.inference.threshold import Threshold, bound, leave_out
from fsar.method import Scores


class SupportSet:
    """Support clips whose parts are in a bank.

    Args:
        bank: holds them in both roles.
        clips: ``(s)`` their numbers in it.
        labels: ``(s)`` in ``0..n-1``.
        names: of all classes whose texts the bank holds.
        classes: ``(n)`` which of them these are; by default all, in order.
        device: where they are compared.
    """

    def __init__(
        self,
        bank: VideoBank,
        clips: Tensor,
        labels: Tensor,
        names: tuple[str, ...],
        classes: Tensor | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.bank, self.clips, self.labels, self.names, self.device = bank, clips, labels, names, device
        self.classes = torch.arange(len(names)) if classes is None else classes
        self.ways = len(self.classes)
        self.sizes = torch.bincount(labels, minlength=self.ways).tolist()
        alignment = getattr(bank.method, "alignment", None)
        self.even: bool = alignment is not None and alignment.merges_shots

    def ask(self, queries: Tensor) -> Scores:
        """Scores of queries, numbers ``(q)`` in the bank: ``(1 q n)``. A method that sees other queries is asked for
        each by itself, so that an answer does not depend on what else is asked."""
        if self.bank.method.sees_other_queries:
            clips = torch.arange(len(self.clips)).expand(len(queries), -1)
            scores = score_episodes(self.bank, self._episodes(clips, queries[:, None]))
            return Scores(scores.logits.transpose(0, 1), scores.few_shot.transpose(0, 1))
        return score_episodes(self.bank, self.episode(queries))

    def episode(self, queries: Tensor) -> IndexEpisode:
        """All clips and the queries, numbers ``(q)`` in the bank, as one episode ``(1 ...)``."""
        return self._episodes(torch.arange(len(self.clips))[None], queries[None])

    def logits_of(self, frames: Tensor) -> Tensor:
        """``(n)`` for the frames ``(t c h w)`` of a clip that may be in no bank, with a graph if they want one."""
        method, episode = self.bank.method, self.episode(self.clips[:1])
        support = self.bank.look_up("support", episode.support, episode.classes.device)
        query = method.query_parts(method.encode(Streams(frames=frames[None, None])))
        return method.score(support, query, episode, self.bank.text).logits[0, 0]

    def leave_each_out(self, shots: int) -> tuple[Scores, Tensor]:
        """Scores ``(N 1 n)`` of every clip of a class of two or more without it, and which they are ``(N)``.

        Args:
            shots: at most so many other clips of its class are left.
        """
        logits, few_shot, left = [], [], []
        sets = leave_out(self.labels.tolist(), shots, self.even)
        for size in sorted({len(rest) for _, rest in sets}):
            clips = torch.tensor([clip for clip, rest in sets if len(rest) == size])
            kept = torch.tensor([rest for _, rest in sets if len(rest) == size])
            scores = score_episodes(self.bank, self._episodes(kept, self.clips[clips, None]))
            logits.append(scores.logits.float().cpu())
            few_shot.append(scores.few_shot.float().cpu())
            left.append(clips)
        if not left:
            nothing = torch.empty(0, 1, self.ways)
            return Scores(nothing, nothing), torch.empty(0, dtype=torch.int64)
        return Scores(torch.cat(logits), torch.cat(few_shot)), torch.cat(left)

    def calibrate(self) -> Calibration | None:
        """From all clips, each left out; None unless every class has two or more."""
        if min(self.sizes) < 2 or (self.even and len(set(self.sizes)) > 1):
            return None
        scores, left = self.leave_each_out(max(self.sizes))
        source = f"{len(left)} support clips, each left out of its class"
        return Calibration(fit_temperature(scores.logits[:, 0], self.labels[left]), source)

    def threshold(self, keep: float) -> Threshold:
        """The bound of each class, see :mod:`fsar.inference.threshold`."""
        genuine: dict[int, list[float]] = {}
        for shots in set(self.sizes):
            scores, left = self.leave_each_out(shots)
            own = self.labels[left, None]
            genuine[shots] = scores.few_shot[:, 0].gather(-1, own)[:, 0].tolist()
        bounds = [bound(genuine[size], keep) for size in self.sizes]
        found = self.ask(self.clips).few_shot[0].float().cpu()
        least = torch.tensor([-torch.inf if one is None else one for one in bounds])
        refused = int(((found < least) | one_hot(self.labels, self.ways).bool()).all(-1).sum())
        left_out = len(next(iter(genuine.values())))
        own_names = [self.names[c] for c in self.classes.tolist()]
        return Threshold(dict(zip(own_names, bounds, strict=True)), keep, left_out, refused, len(self.labels))

    def _episodes(self, support: Tensor, query: Tensor) -> IndexEpisode:
        """Episodes of places ``(e s)`` among the clips, and of queries ``(e q)`` by their numbers in the bank. The
        class of a query is unknown: what is looked up of it is never what it would be as a support clip."""
        e = len(support)
        classes, number = self.classes.expand(e, -1), torch.arange(e)
        episode = IndexEpisode(
            self.clips[support], query, self.labels[support], torch.zeros_like(query), classes, self.names, number
        )
        return episode if self.device is None else episode.to(self.device)
