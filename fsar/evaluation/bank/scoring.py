"""Episodes on what is kept of their videos."""

from __future__ import annotations

from dataclasses import replace

import torch

from episodes.episode import IndexEpisode
from fsar.evaluation.bank.videos import VideoBank
from fsar.method import Scores


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
