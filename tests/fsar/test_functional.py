"""The functions that papers share, against their formulas."""

import pytest
import torch

from fsar.functional import cosine, log_mean, log_mixture


@pytest.mark.parametrize("epsilon", [0.0, 0.01])
def test_cosine_divides_by_the_product_of_the_norms(epsilon: float) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(3, 4, 8, dtype=torch.float64), torch.randn(3, 5, 8, dtype=torch.float64)
    expected = [
        [[a @ b / (a.norm() * b.norm() + epsilon) for b in words] for a in clips]
        for clips, words in zip(x, y, strict=True)
    ]
    torch.testing.assert_close(cosine(x, y, epsilon), torch.tensor(expected))


def test_log_mean_averages_probabilities() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 6, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(log_mean(logits, -3), logits.softmax(-1).mean(-3).log())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mixture_is_a_weighted_sum_of_probabilities(share: float) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 4, 5, dtype=torch.float64)
    mixed = log_mixture(first, second, share)
    torch.testing.assert_close(mixed.exp(), share * first.softmax(-1) + (1 - share) * second.softmax(-1))


def test_small_probabilities_keep_their_order() -> None:
    logits = torch.tensor([0.0, -150.0, -200.0])
    assert log_mixture(logits, logits, 0.5).argsort().tolist() == [2, 1, 0]
    assert log_mean(logits.expand(4, 2, 3), -3).argsort(-1).tolist() == [[2, 1, 0]] * 2
