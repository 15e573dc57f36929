"""torch.compile traces every alignment as one graph; "eager" runs the traced graph, so only tracing is tested."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fsar.alignment import (
    DTW,
    OTAM,
    TRX,
    Alignment,
    AlphaDistance,
    Chamfer,
    FrameMean,
    FrameToFrame,
    OptimalTransport,
    PatternTokens,
    SoftDTW,
)

TRACED: tuple[Callable[[], Alignment], ...] = (
    OTAM,
    DTW,
    SoftDTW,
    FrameMean,
    FrameToFrame,
    Chamfer,
    lambda: OptimalTransport(iterations=2),
    lambda: TRX(9, (2,), width=4),
    lambda: PatternTokens(9, patterns=2),
    lambda: AlphaDistance(3, frames=3),
)


@pytest.mark.parametrize("make", TRACED, ids=lambda make: type(make()).__name__)
def test_whole_graph(make: Callable[[], Alignment]) -> None:
    torch._dynamo.reset()
    metric = make().eval()
    query, support = torch.randn(2, 3, 9), torch.randn(2, 3, 9)
    support = support[:, None] if metric.merges_shots else support
    with torch.no_grad():
        found = torch.compile(metric, backend="eager", fullgraph=True)(query, support)
    torch.testing.assert_close(found, metric(query, support))


def test_backward_is_traced_too() -> None:
    torch._dynamo.reset()
    query, support = torch.randn(2, 3, 9, requires_grad=True), torch.randn(2, 3, 9)
    (wanted,) = torch.autograd.grad(OTAM()(query, support).sum(), query)
    compiled = torch.compile(OTAM(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(query, support).sum(), query)[0], wanted)
