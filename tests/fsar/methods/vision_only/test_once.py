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
from fsar.methods import STRM, TA2N, TRX, HyRSM, HyRSMPlusPlus, MoLo

LABELS, NAMES = torch.arange(24) % 4, tuple("abcd")


class Maps(FrameEncoder):
    """Gives what is stored: maps of 4 x 4."""

    gives, grid, widths = ("frames", "patches"), (4, 4), {"frames": 16, "patches": 16}  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(nn.Identity(), 16, 32, (0.5,) * 3, (0.5,) * 3)


def moved(method: TA2N) -> TA2N:
    """With a warp and offsets of its own for every clip."""
    for last in (method.warp.head[2], method.offsets.head[2]):
        nn.init.normal_(last.weight)  # type: ignore[arg-type]
    return method


METHODS: dict[str, Callable[[], Any]] = {
    "TRX": lambda: TRX(Maps(), width=8),
    "HyRSM": lambda: HyRSM(Maps(), queries_per_chunk=5),
    "HyRSM, shots apart": lambda: HyRSM(Maps(), merge="after"),
    "HyRSM++": lambda: HyRSMPlusPlus(Maps()),
    "STRM": lambda: STRM(Maps(), frames=4, width=8),
    "TA2N": lambda: moved(TA2N(Maps())),
    "MoLo": lambda: MoLo(Maps(), BiMHM(), hidden=8),
}


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_scored_from_what_is_kept(name: str, shots: int) -> None:
    method = METHODS[name]().eval()
    asked: list[int] = []
    query_parts = method.query_parts
    method.query_parts = lambda features: asked.append(len(features["frames"])) or query_parts(features)
    features = Features(frames=torch.randn(24, 4, 16).abs(), patches=torch.randn(24, 4, 16, 16).abs())
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
