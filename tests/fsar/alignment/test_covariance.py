"""TS-FSAR's descriptor and matching against the paper's equations."""

from __future__ import annotations

import pytest
import torch

from fsar.alignment import AlphaDistance, CosineCost, alpha_covariance


def test_descriptor_is_the_loop_over_channels() -> None:
    d, p = 4, 7
    z, y = torch.randn(d, dtype=torch.float64), torch.randn(p, d, dtype=torch.float64)
    x = torch.stack([torch.cosine_similarity(z, row, dim=0) * row for row in y]).T  # (d p)
    a = torch.stack(
        [torch.stack([((x[i] - x[j]).square().sum() / (2 * p) + 1e-5) ** 0.4 for j in range(d)]) for i in range(d)]
    )
    centred = a - a.mean(0) - a.mean(1)[:, None] + a.mean()
    wanted = torch.stack([centred[i, j] for i in range(d) for j in range(i, d)])
    torch.testing.assert_close(alpha_covariance(z, y), wanted)


def test_descriptor_of_the_paper_has_32896_numbers_and_finite_gradients() -> None:
    patches = torch.zeros(2, 9, 256, requires_grad=True)  # all distances 0, where the power's slope is infinite
    descriptor = alpha_covariance(torch.randn(2, 256), patches)
    assert descriptor.shape == (2, 32_896)
    (gradient,) = torch.autograd.grad(descriptor.sum(), patches)
    assert gradient.isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    z, y = torch.randn(2, 8).bfloat16(), torch.randn(2, 5, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = alpha_covariance(z, y)
    torch.testing.assert_close(found, alpha_covariance(z.float(), y.float()))


def test_matching_is_the_weighted_sum() -> None:
    d, width = 3, 6
    metric = AlphaDistance(d, frames=4, support_frames=2).double()
    query, support = (
        torch.randn(2, 4, width + d, dtype=torch.float64),
        torch.randn(5, 2, width + d, dtype=torch.float64),
    )
    found = metric(query, support)
    similarity = 1 - CosineCost()(query[..., :width], support[..., :width])
    for q in range(2):
        task = support[..., width:].flatten(0, 1).mean(0) + query[q, :, width:].mean(0)
        weights = (metric.weights.weight @ task).reshape(4, 2)
        for n in range(5):
            torch.testing.assert_close(found[q, n], (weights * similarity[q, n]).sum())


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"made for 8 query and 8 support frames of 6 \+ 3 channels"):
        AlphaDistance(3)(torch.randn(1, 4, 9), torch.randn(1, 8, 9))
