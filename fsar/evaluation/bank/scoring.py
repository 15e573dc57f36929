"""Episodes on what is kept of their videos."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from episodes.episode import IndexEpisode
from fsar.evaluation.bank.shelf import gather
from fsar.evaluation.bank.videos import VideoBank
from fsar.method import Scores

COMPARED = 1000
"""Episodes, the first of an evaluation, that are scored in both precisions."""
UNITS = ("avx512_bf16", "amx_bf16")
CPUINFO = Path("/proc/cpuinfo")


class Scoring:
    """Scores episodes of a bank in float32; or with the matrix products of the method in bfloat16 (autocast; costs and
    alignment stay in float32), which takes half the time where every prototype passes a Transformer.

    The first :data:`COMPARED` episodes are scored in both and keep the float32 scores; how many of their predictions
    are the same is told, and how long bf16 took: some processors have units for it and are slower.

    Args:
        precision: ``float32`` or ``bf16``.
    """

    def __init__(self, precision: str = "float32") -> None:
        if precision not in ("float32", "bf16"):
            raise ValueError(f"model.scoring must be float32 or bf16, found {precision!r}.")
        self.precision, self.same, self.compared = precision, 0, 0
        self.seconds = [0.0, 0.0]  # of what is scored in both: bf16, float32

    def __call__(self, bank: VideoBank, episodes: IndexEpisode) -> Scores:
        """Scores of a batch of episodes, see :func:`score_episodes`."""
        if self.precision == "float32":
            return score_episodes(bank, episodes)
        device, first = episodes.classes.device.type, episodes.number < COMPARED
        if device == "cpu" and not self.compared and first.any():  # what is timed should not set anything up
            few = _some(episodes, 0, bank.group_size(episodes))
            for enabled in (True, False):
                with torch.autocast(device, torch.bfloat16, enabled):
                    score_episodes(bank, few)
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            fast = score_episodes(bank, episodes)
        middle = time.perf_counter()
        fast = Scores(fast.logits.float(), fast.few_shot.float())
        if not first.any():
            return fast
        with torch.autocast(device, enabled=False):  # that of the trainer, too
            exact = score_episodes(bank, episodes)
        if device == "cpu":
            self.seconds[0] += middle - start
            self.seconds[1] += time.perf_counter() - middle
        same = (exact.logits.argmax(-1) == fast.logits.argmax(-1))[first]
        self.same, self.compared = self.same + int(same.sum()), self.compared + same.numel()
        pick = first[:, None, None]
        return Scores(*(torch.where(pick, x, y) for x, y in zip(_both(exact), _both(fast), strict=True)))

    def check(self, device: torch.device) -> None:
        """To be asked before anything is encoded.

        Raises:
            ValueError: bf16 on a CPU that says it has no units for it, where it is slower.
        """
        if self.precision == "float32" or device.type != "cpu" or not CPUINFO.is_file():
            return
        flags = next((line.split() for line in CPUINFO.read_text().splitlines() if line.startswith("flags")), [*UNITS])
        if not {*flags} & {*UNITS}:
            raise ValueError(
                f"model.scoring bf16: this processor has none of {', '.join(UNITS)} in {CPUINFO}, and is several times "
                "slower in it: leave model.scoring out."
            )

    def record(self) -> dict[str, Any]:
        """What results say, of all processes; nothing of float32. The next evaluation counts anew."""
        if self.precision == "float32":
            return {}
        counts = torch.tensor([[self.same, self.compared, *self.seconds]], dtype=torch.float64)
        same, compared, fast, exact = gather(counts).sum(0).tolist()
        self.same, self.compared, self.seconds = 0, 0, [0.0, 0.0]
        said = {"precision": "bf16", "same_predictions": same / max(compared, 1), "compared": int(compared)}
        return {"scoring": {**said, "times_float32": round(fast / exact, 2) if exact else None}}


def _both(scores: Scores) -> tuple[torch.Tensor, torch.Tensor]:
    return scores.logits, scores.few_shot


@torch.no_grad()
def score_episodes(bank: VideoBank, episodes: IndexEpisode) -> Scores:
    """Scores of a batch of episodes whose ``support (e s)`` and ``query (e q)`` are video numbers in the bank."""
    if not bank.closed:
        bank.close()
    if views := bank.scored_views:
        each = [_grouped(bank, _of_view(bank, episodes, number)) for number in range(views)]
        logits, few_shot = (torch.stack([getattr(x, name) for x in each]).mean(0) for name in ("logits", "few_shot"))
        return Scores(logits, few_shot)
    return _grouped(bank, episodes)


def _of_view(bank: VideoBank, episodes: IndexEpisode, number: int) -> IndexEpisode:
    return replace(episodes, support=bank.view(episodes.support, number), query=bank.view(episodes.query, number))


def _grouped(bank: VideoBank, episodes: IndexEpisode) -> Scores:
    """So many at a time as the caches of a CPU like."""
    count = len(episodes.number)
    size = bank.group_size(episodes) if episodes.classes.device.type == "cpu" else count
    if size >= count:
        return _score(bank, episodes)
    groups = [_score(bank, _some(episodes, start, size)) for start in range(0, count, size)]
    return Scores(torch.cat([g.logits for g in groups]), torch.cat([g.few_shot for g in groups]))


def _some(episodes: IndexEpisode, start: int, count: int) -> IndexEpisode:
    return episodes.map(lambda x: x[start : start + count])


def _score(bank: VideoBank, episodes: IndexEpisode) -> Scores:
    device, ways = episodes.classes.device, episodes.ways
    query = bank.look_up("query", episodes.query, device)
    shots, rest = divmod(episodes.support.shape[-1], ways)
    by_class = torch.arange(ways, device=device).repeat_interleave(shots)
    if bank.averages_shots and shots > 1 and not rest and bool((episodes.support_labels == by_class).all()):
        support = bank.look_up_means(episodes.support.unflatten(-1, (ways, shots)), device)
        labels = by_class[::shots].expand(*episodes.classes.shape)
        episodes = replace(episodes, support=episodes.support[..., ::shots], support_labels=labels)
    else:
        support = bank.look_up("support", episodes.support, device)
    return bank.method.checked(bank.method.score(support, query, episodes, bank.text), episodes)
