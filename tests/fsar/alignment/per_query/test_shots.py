"""Metrics that look at every shot, written out."""

from __future__ import annotations

import pytest
import torch

from fsar.alignment import OTAM, TRX, CrossTransformer, EachShot


def test_cross_transformer_written_out() -> None:
    metric = CrossTransformer(6, width=4).double()
    query, support = torch.randn(2, 5, 6).double(), torch.randn(3, 2, 4, 6).double()
    for q, clip in enumerate(query):
        for c, shots in enumerate(support):
            frames = shots.flatten(0, 1)
            each = []
            for frame in clip:
                weights = (metric.key(frame) @ metric.key(frames).T / 2).softmax(0)
                each.append(torch.cosine_similarity(metric.value(frame), weights @ metric.value(frames), dim=0))
            torch.testing.assert_close(metric(query, support)[q, c], torch.stack(each).mean())


def test_each_shot_is_the_mean_over_shots() -> None:
    query, support = torch.randn(2, 5, 6), torch.randn(3, 2, 4, 6)
    expected = torch.stack([OTAM()(query, support[:, k]) for k in range(2)]).mean(0)
    torch.testing.assert_close(EachShot(OTAM())(query, support), expected)
    torch.testing.assert_close(EachShot(OTAM())(query, support[:, :1]), OTAM()(query, support[:, 0]))


def test_each_shot_of_what_merges_shots_is_refused() -> None:
    with pytest.raises(ValueError, match="TRX merges the shots itself: use it without EachShot"):
        EachShot(TRX(6, width=4))
