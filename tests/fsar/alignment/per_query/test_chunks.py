"""Queries in chunks: the same results, and never more of them at a time than asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fsar.alignment import TRX
from fsar.alignment.per_query.chunks import over_queries


@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (1, 4)])
@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_the_same_as_all_at_once(lead: tuple[int, ...], size: int) -> None:
    seen = []

    def compare(query: dict[str, Tensor], support: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(query["x"].shape[:-1].numel())
        return {"product": query["x"] @ support["y"].mT, "own": query["x"]}

    query, support = {"x": torch.randn(*lead, 6, 3)}, {"y": torch.randn(*lead, 2, 3)}
    found = over_queries(compare, query, support, len(lead), size)
    assert max(seen) <= size
    assert sum(seen) == query["x"].shape[:-1].numel()
    torch.testing.assert_close(found["product"], query["x"] @ support["y"].mT)
    assert torch.equal(found["own"], query["x"])


@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_trx_whose_leading_axes_broadcast(chunk: int) -> None:
    metric = TRX(6, (1, 2), width=4, queries_per_chunk=chunk).eval()
    query, support = torch.randn(5, 4, 6), torch.randn(3, 2, 2, 5, 6)
    mask = torch.ones(3, 2, 2, 5, dtype=torch.bool)
    mask[1, 0, :, 3:] = False
    together = metric(query, support, None, mask)
    assert together.shape == (3, 5, 2)
    for i in range(3):
        torch.testing.assert_close(together[i], metric(query, support[i], None, mask[i]))


def test_a_chunk_of_no_query_is_refused() -> None:
    metric = TRX(4, (1,), width=4, queries_per_chunk=0)
    with pytest.raises(ValueError, match="queries_per_chunk must be at least 1, found 0"):
        metric(torch.randn(1, 2, 4), torch.randn(1, 1, 2, 4))
