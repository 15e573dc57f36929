"""Probabilities come true as often as they say, and a temperature serves only the logits it was fitted to."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from fsar.evaluation.calibration import (
    Calibration,
    calibrate,
    calibration_error,
    calibration_facts,
    explain,
    fit_temperature,
    read_calibration,
)


def drawn(count: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax is true at one temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(count, 5, generator=generator, dtype=torch.float64)
    return logits, torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("temperature", [0.3, 2.5, 8.0])
def test_the_temperature_is_found_and_lowers_the_error(temperature: float) -> None:
    logits, labels = drawn(20_000, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    assert calibration_error(logits, labels, found) < 0.02 < 0.1 < calibration_error(logits, labels, 4 * temperature)


def test_no_other_temperature_makes_the_clips_likelier() -> None:
    logits, labels = drawn(200, 3.0)
    targets = (torch.nn.functional.one_hot(labels, 5) * 200.0 + 1) / 205
    temperatures = fit_temperature(logits, labels) * torch.tensor([0.98, 1.0, 1.02], dtype=torch.float64)
    low, best, high = (float(cross_entropy(logits / t, targets)) for t in temperatures)
    assert best < low
    assert best < high


def test_few_clips_that_are_all_right_are_not_certain() -> None:
    logits, labels = 50 * torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2)
    probabilities = (logits / fit_temperature(logits, labels)).softmax(-1)
    torch.testing.assert_close(probabilities.amax(-1), torch.full((6,), 7 / 9), atol=1e-4, rtol=0)


def test_extremes_are_finite_and_what_tells_nothing_is_flat() -> None:
    logits, labels = drawn(2_000, 2.0)
    assert fit_temperature(logits * 1e20, labels) == pytest.approx(2e20, rel=0.1)
    assert fit_temperature(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)) == 1.0
    against = (-logits / fit_temperature(-logits, labels)).softmax(-1)
    torch.testing.assert_close(against, torch.full_like(against, 0.2), atol=0.01, rtol=0)


def test_a_result_says_the_error_and_where_the_temperature_is_from() -> None:
    logits, labels = drawn(3_000, 8.0)
    rows = {"scores": logits.view(100, 30, 5).float().numpy(), "truth": labels.view(100, 30).numpy()}
    calibration = calibrate(rows, "Prototype with OTAM")
    facts = calibration_facts(rows, calibration)
    assert facts["expected_calibration_error"] < 0.5 * facts["expected_calibration_error_uncalibrated"]
    assert facts["temperature_from"] == "3,000 queries of validation episodes"
    assert calibration_facts(rows, None) == {
        "expected_calibration_error": facts["expected_calibration_error_uncalibrated"],
        "temperature": None,
    }


def test_the_error_by_hand() -> None:
    logits = torch.tensor([[0.7, 0.3], [0.7, 0.3], [0.9, 0.1], [0.9, 0.1]], dtype=torch.float64).log()
    found = calibration_error(logits, torch.tensor([0, 1, 0, 0]))
    assert found == pytest.approx(0.5 * abs(0.7 - 0.5) + 0.5 * abs(0.9 - 1.0), abs=1e-6)


def test_what_a_checkpoint_keeps_is_for_the_same_logits_alone() -> None:
    kept = {"temperature": 2.0, "source": "9 queries", "method": "A with OTAM"}
    assert read_calibration(kept, "A with OTAM") == Calibration(2.0, "9 queries", "A with OTAM")
    assert read_calibration(kept, "A with DTW") is read_calibration(None, "A") is None
    for wrong in ({"temperature": 0.0, "source": ""}, {"temperature": float("nan"), "source": ""}, [], {"source": ""}):
        with pytest.raises(ValueError, match="must hold temperature and source"):
            read_calibration(wrong, "A")


def test_what_the_numbers_mean_is_said() -> None:
    assert "not probabilities" in explain(None)
    assert "calibrated on 9 queries" in explain(Calibration(2.0, "9 queries"))
