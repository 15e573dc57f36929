"""Prototypes and groups of shots against loops over the labels."""

from __future__ import annotations

import pytest
import torch

from fsar.shots import shot_groups, shot_mean


@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 0, 1], [0, 0, 1, 1, 2, 2], [1, 2, 0, 0, 2, 1], [2, 0, 0, 1, 2, 2]])
def test_a_prototype_is_the_mean_of_its_class(labels: list[int]) -> None:
    support, own = torch.randn(2, len(labels), 4, 3), torch.tensor(labels)
    expected = torch.stack([support[:, own == c].mean(1) for c in range(3)], dim=1)
    torch.testing.assert_close(shot_mean(support, own.expand(2, -1), 3), expected)


@pytest.mark.parametrize("labels", [[2, 0, 1], [0, 0, 1, 1, 2, 2], [1, 2, 0, 0, 2, 1]])
def test_a_group_holds_the_shots_of_its_class_in_their_order(labels: list[int]) -> None:
    support, own = torch.randn(2, len(labels), 4, 3), torch.tensor(labels)
    expected = torch.stack([support[:, own == c] for c in range(3)], dim=1)
    assert torch.equal(shot_groups(support, own.expand(2, -1), 3), expected)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1], [0, 1, 1], [0, 0]])
def test_classes_of_different_numbers_of_shots_are_no_groups(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=f"needs as many for each: {len(labels)} support clips"):
        shot_groups(torch.randn(len(labels), 4, 3), torch.tensor(labels), 2)
