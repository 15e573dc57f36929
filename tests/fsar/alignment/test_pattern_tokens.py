"""TEAM against the paper's equations, class by class."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fsar.alignment import PatternTokens
from fsar.alignment.cross_tuple import sinusoids


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


NAMES = {"AP": "patterns", "ln.": "norm.", "mlp.inp_fc.": "mlp.0.", "mlp.out_fc.": "mlp.2."}


def renamed(released: str) -> str:
    """A name of the released module in ours."""
    name = released.removeprefix("DPM.")
    return next(name.replace(theirs, ours, 1) for theirs, ours in NAMES.items() if name.startswith(theirs))


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_released_code(case: str, reference) -> None:
    """Pooled maps to both distances, the logits, the two losses and every gradient that was stored."""
    arrays = reference("team", case)
    stored = {k.removeprefix("weight/"): v for k, v in arrays.items() if k.startswith("weight/")}
    positions = stored.pop("DPM.pe.pe")[0]
    weights = {renamed(name): value.squeeze(0) for name, value in stored.items()}
    metric = PatternTokens(positions.shape[-1], len(weights["patterns"]), dropout=0.0)
    metric.load_state_dict(weights)
    torch.testing.assert_close(0.1 * sinusoids(len(positions), positions.shape[-1]), positions, rtol=1e-5, atol=1e-6)
    support, query = (arrays[f"{role}_maps"].clone().requires_grad_() for role in ("support", "query"))
    labels, classes = arrays["query_labels"], arrays["logits"].shape[-1]
    prototypes = torch.stack([support[arrays["support_labels"] == c].mean((0, -1, -2)) for c in range(classes)])
    positive, negative = metric.distances(query.mean((-1, -2)), prototypes)
    losses = [torch.nn.functional.cross_entropy(-distance, labels) for distance in (positive, negative)]
    sum(losses).backward()
    found = {
        "logits_positive": -positive,
        "logits_negative": -negative,
        "logits": metric(query.mean((-1, -2)), prototypes),
        "loss_positive": losses[0],
        "loss_negative": losses[1],
        "loss": sum(losses),
        "grad_support": support.grad,
        "grad_query": query.grad,
        "grad_weight/DPM.AP": metric.patterns.grad[None],
        "grad_weight/DPM.mlp.inp_fc.weight": metric.mlp[0].weight.grad,
    }
    wanted = {k for k in arrays if k.startswith(("logits", "loss", "grad"))}
    assert wanted == {k for k in found if "grad_support" in arrays or not k.startswith("grad")}  # a cut has none
    for name in wanted:
        value = found[name]
        error = (value - arrays[name]).abs().max() / arrays[name].abs().max()
        assert error < 1e-5, f"{name}: {error:.2g}"
