"""TEAM against the paper's equations, class by class."""

from __future__ import annotations

import torch
from torch import Tensor

from fsar.alignment import PatternTokens
from fsar.alignment.per_query.cross_tuple import sinusoids


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.cosine_similarity(a, b, dim=-1)


def test_equations() -> None:
    d, ways = 6, 3
    metric = PatternTokens(d, patterns=4).double().eval()
    query, support = torch.randn(2, 5, d, dtype=torch.float64), torch.randn(ways, 4, d, dtype=torch.float64)
    a = metric.patterns

    def seen(x: Tensor) -> Tensor:
        frames = metric.norm(x + 0.1 * sinusoids(len(x), d))
        return (metric.norm(a) @ frames.T / (d / 8) ** 0.5).softmax(-1) @ frames

    def tokens(z: Tensor) -> Tensor:
        return (z + metric.mlp(z)).relu()

    o = [seen(x) for x in support]
    moved: dict[int, list[Tensor]] = {1: [], -1: []}
    for sign, adapted in moved.items():
        p = [tokens(a + sign * x) for x in o]
        for c in range(ways):
            others = [j for j in range(ways) if j != c]
            each = [a + sign * o[c] - sign * cosine(p[c], p[j])[:, None] * (o[j] - o[c]) for j in others]
            adapted.append(torch.stack([tokens(z) for z in each]).mean(0))
    positive, negative = metric.distances(query, support)
    for q, x in enumerate(query):
        p_pos, p_neg = tokens(a + seen(x)), tokens(a - seen(x))
        for c in range(ways):
            others = [j for j in range(ways) if j != c]
            torch.testing.assert_close(positive[q, c], (1 - cosine(moved[1][c], p_pos)).sum())
            worst = max((1 - cosine(moved[1][j], p_neg)).sum() for j in others)
            worst = worst + max((1 - cosine(moved[-1][j], p_pos)).sum() for j in others)
            torch.testing.assert_close(negative[q, c], worst / 2)
    torch.testing.assert_close(metric(query, support), -(positive + negative))


def test_one_class_has_no_others() -> None:
    metric = PatternTokens(8, patterns=3).eval()
    positive, negative = metric.distances(torch.randn(2, 5, 8), torch.randn(1, 5, 8))
    assert (negative == 0).all()
    assert (positive > 0).all()
