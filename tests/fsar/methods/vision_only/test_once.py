"""Videos whose parts are the same in both roles: made once, kept once, and the scores are those of whole episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from episodes.clips import Features
from episodes.dataset import index_episodes
from episodes.episode import Episode, VideoBatch
from episodes.sampler import EpisodeSampler
from fsar.alignment import BiMHM
from fsar.encoders import FrameEncoder
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.methods import TRX, HyRSM, HyRSMPlusPlus, MoLo

LABELS, NAMES = torch.arange(24) % 4, tuple("abcd")


class Maps(FrameEncoder):
    """Gives what is stored: maps of 2 x 2."""

    gives, grid, widths = ("frames", "patches"), (2, 2), {"frames": 16, "patches": 16}  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(nn.Identity(), 16, 32, (0.5,) * 3, (0.5,) * 3)


METHODS: dict[str, Callable[[], Any]] = {
    "TRX": lambda: TRX(Maps(), width=8),
    "HyRSM": lambda: HyRSM(Maps(), queries_per_chunk=5),
    "HyRSM, shots apart": lambda: HyRSM(Maps(), merge="after"),
    "HyRSM++": lambda: HyRSMPlusPlus(Maps()),
    "MoLo": lambda: MoLo(Maps(), BiMHM(), hidden=8),
}


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_scored_from_what_is_kept(name: str, shots: int) -> None:
    method = METHODS[name]().eval()
    asked: list[int] = []
    query_parts = method.query_parts
    method.query_parts = lambda features: asked.append(len(features["frames"])) or query_parts(features)
    features = Features(frames=torch.randn(24, 4, 16).abs(), patches=torch.randn(24, 4, 4, 16).abs())
    bank = VideoBank(method)
    for videos in torch.arange(24).split(10):
        bank.add(VideoBatch(videos, features.at(videos), LABELS[videos], NAMES))
    assert sum(asked) == 24  # every video once
    episodes = index_episodes(EpisodeSampler(LABELS.numpy(), 3, shots, 2, 0, NAMES), np.arange(7))
    found = score_episodes(bank, episodes).logits
    kept = {role: bank.look_up(role, torch.arange(2), torch.device("cpu")) for role in ("query", "support")}
    assert all(torch.equal(kept["query"][part], kept["support"][part]) for part in kept["query"])
    whole = Episode(
        **{**vars(episodes), "support": features.at(episodes.support), "query": features.at(episodes.query)}
    )
    with torch.no_grad():
        torch.testing.assert_close(found, method(whole).logits, rtol=1e-4, atol=1e-4)
