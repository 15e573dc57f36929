"""HyRSM's parts written out: positions, attention within and across clips, and what is averaged over shots."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import layer_norm

from fsar.temporal import HybridRelation, ScaledPositions


def test_positions_written_out() -> None:
    found = ScaledPositions(6, scale=24.0, weight=0.5, dropout=0.0)(torch.ones(1, 30, 6, dtype=torch.float64))
    for p in (0, 3, 29):
        for i in range(6):
            angle = p / 10000 ** (2 * i / 6)
            expected = math.sqrt(6 / 24) + 0.5 * (math.sin(angle) if i % 2 == 0 else math.cos(angle))
            assert math.isclose(float(found[0, p, i]), expected, abs_tol=1e-6)


def test_relation_written_out_for_one_query() -> None:
    relation = HybridRelation(8, heads=2).double().eval()
    query, support = torch.randn(2, 4, 8, dtype=torch.float64), torch.randn(3, 4, 8, dtype=torch.float64)
    queries, supports = relation(relation.clip_parts(query), relation.clip_parts(support))
    across = relation.across
    for q in range(2):
        z = relation.within(relation.positions(torch.cat([support, query[q : q + 1]])))  # (4 t d)
        tokens = z.mean(1)
        mixed = torch.zeros(4, 8, dtype=torch.float64)
        for head in (slice(0, 4), slice(4, 8)):
            own = [(linear(tokens))[:, head] for linear in (across.to_q, across.to_k, across.to_v)]
            mixed[:, head] = (own[0] @ own[1].T / 2).softmax(-1) @ own[2]
        summed = across.to_out(mixed) + tokens
        relations = layer_norm(summed, (8,), across.norm.weight, across.norm.bias).relu()
        joined = relation.join(torch.cat([z, relations[:, None].expand(-1, 4, -1)], dim=-1))
        torch.testing.assert_close(supports[q], joined[:3])
        torch.testing.assert_close(queries[q], joined[3])


def test_parts_average_over_shots() -> None:
    relation = HybridRelation(16).double().eval()
    parts = relation.clip_parts(torch.randn(5, 3, 16, dtype=torch.float64))
    mean = parts["within"].mean(0)
    torch.testing.assert_close(parts["token"].mean(0), mean.mean(0))
    torch.testing.assert_close(parts["k"].mean(0), relation.across.to_k(mean.mean(0)))
    first = relation.join.weight[:, :16]
    torch.testing.assert_close(parts["frames"].mean(0), mean @ first.T + relation.join.bias)
