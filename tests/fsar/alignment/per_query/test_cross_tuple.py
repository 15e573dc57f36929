"""TRX against stored outputs and a loop over tuples."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from einops import rearrange

from fsar.alignment import TRX
from fsar.alignment.per_query.cross_tuple import frame_tuples, sinusoids


@pytest.mark.parametrize("case", ["cardinality2_1shot", "cardinality2_5shot", "cardinality3_1shot"])
def test_released_code(case: str, reference) -> None:
    arrays = reference("trx", case)
    metric = TRX(32, [int(arrays["cardinality"])], width=48).eval()
    weights = {k.removeprefix("weight/"): v for k, v in arrays.items() if k.startswith("weight/") and "norm_v" not in k}
    metric.transformers[0].load_state_dict(weights)
    by_class = arrays["support"][arrays["support_labels"].argsort(stable=True)]
    found = metric(arrays["query"], rearrange(by_class, "(n k) u d -> n k u d", n=arrays["logits"].shape[1]))
    torch.testing.assert_close(found, arrays["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_released_head(case: str, reference) -> None:
    """All cardinalities together: logits of each and their mean, the loss, and the gradients of the features."""
    arrays = reference("trx_head", case)
    weights = {k.removeprefix("weight/"): v for k, v in arrays.items() if k.startswith("weight/") and "norm_v" not in k}
    positions = weights.pop("transformers.0.pe.pe")[0]
    weights = {k: v for k, v in weights.items() if not k.endswith("pe.pe")}
    channels = positions.shape[-1]
    torch.testing.assert_close(0.1 * sinusoids(len(positions), channels), positions, rtol=1e-5, atol=1e-6)
    width = len(weights["transformers.0.k_linear.bias"])
    metric = TRX(channels, arrays["cardinalities"].tolist(), width, dropout=0.0)
    metric.load_state_dict(weights)
    support, query = (arrays[role].clone().requires_grad_() for role in ("support", "query"))
    by_class = support[arrays["support_labels"].argsort(stable=True)]
    shots = rearrange(by_class, "(n k) u d -> n k u d", n=arrays["logits"].shape[-1])
    logits = metric(query, shots)
    loss = torch.nn.functional.cross_entropy(logits, arrays["query_labels"], reduction="sum") / 16
    loss.backward()
    alone = []
    for i, cardinality in enumerate(arrays["cardinalities"].tolist()):
        single = TRX(channels, [cardinality], width, dropout=0.0)
        own = {k: v for k, v in weights.items() if k.startswith(f"transformers.{i}.")}
        single.load_state_dict({k.replace(f".{i}.", ".0.", 1): v for k, v in own.items()})
        alone.append(single(query, shots))
    found = {
        "logits": logits,
        "logits_by_cardinality": torch.stack(alone),
        "loss": loss,
        "grad_support": support.grad,
        "grad_query": query.grad,
    }
    for name, value in found.items():
        error = (value - arrays[name]).abs().max() / arrays[name].abs().max()
        assert error < 1e-5, f"{name}: {error:.2g}"


def test_loop_over_tuples() -> None:
    metric = TRX(6, (2, 3), width=4).double().eval()
    query, support = torch.randn(2, 4, 6, dtype=torch.float64), torch.randn(3, 2, 5, 6, dtype=torch.float64)
    found = metric(query, support)
    for q in range(2):
        for n in range(3):
            logits = []
            for attention in metric.transformers:
                x, shots = query[q] + 0.1 * sinusoids(4, 6), support[n] + 0.1 * sinusoids(5, 6)
                own = torch.stack([x[list(c)].flatten() for c in combinations(range(4), attention.cardinality)])
                others = torch.stack(
                    [s[list(c)].flatten() for s in shots for c in combinations(range(5), attention.cardinality)]
                )
                keys, class_keys = (attention.norm_k(attention.k_linear(y)) for y in (own, others))
                values, class_values = attention.v_linear(own), attention.v_linear(others)
                prototype = (keys @ class_keys.T / 2).softmax(-1) @ class_values
                logits.append(-(values - prototype).square().sum() / len(own))
            torch.testing.assert_close(found[q, n], torch.stack(logits).mean())


def test_sizes_are_the_papers() -> None:
    metric = TRX(2048)
    unused_value_norms = 2 * 2 * 1152
    assert sum(p.numel() for p in metric.parameters()) == 23_606_784 - unused_value_norms
    assert [len(frame_tuples(8, cardinality)) for cardinality in metric.cardinalities] == [28, 56]


def test_positions_are_sines_and_cosines() -> None:
    found = sinusoids(4, 5)
    assert found.shape == (4, 5)
    torch.testing.assert_close(
        found[3, :2], torch.tensor([3.0]).sin().repeat(2).copy_(torch.tensor([0.14112, -0.98999]))
    )
    torch.testing.assert_close(found[2, 2], torch.tensor(2 * 10000 ** (-2 / 5)).sin())


def test_a_clip_shorter_than_a_tuple_is_refused() -> None:
    metric = TRX(4, (3,), width=4)
    with pytest.raises(ValueError, match="a clip of 2 frames has no tuples of 3"):
        metric(torch.randn(1, 2, 4), torch.randn(1, 1, 4, 4))
    mask = torch.tensor([[True, True, False, False]])
    with pytest.raises(ValueError, match="a clip of 2 frames"):
        metric(torch.randn(1, 4, 4), torch.randn(1, 1, 4, 4), mask)


def test_support_without_the_axis_of_shots_is_refused() -> None:
    with pytest.raises(ValueError, match="n k u d"):
        TRX(4)(torch.randn(1, 4, 4), torch.randn(2, 4, 4))
