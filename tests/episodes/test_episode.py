"""Episode: a boundary object that checks itself when made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from episodes.episode import Episode


def episode(batch: tuple[int, ...] = (), clip: tuple[int, ...] = (8, 4), **changes: Any) -> Episode:
    """3-way, supports of 1 + 2 + 1 clips, two queries."""
    fields: dict[str, Any] = {
        "support": torch.randn(*batch, 4, *clip),
        "query": torch.randn(*batch, 2, *clip),
        "support_labels": torch.tensor([0, 1, 1, 2]).expand(*batch, 4),
        "query_labels": torch.tensor([2, 0]).expand(*batch, 2),
        "classes": torch.tensor([7, 1, 4]).expand(*batch, 3),
        "class_names": tuple(f"class {i}" for i in range(8)),
        "number": torch.full(batch, 5),
    }
    return Episode(**{**fields, **changes})


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("clip", [(), (8, 4), (8, 3, 5, 5)])
def test_any_leading_axes_and_any_clips(batch: tuple[int, ...], clip: tuple[int, ...]) -> None:
    made = episode(batch, clip)
    assert made.ways == 3
    assert torch.equal(made.support_classes, torch.tensor([7, 1, 1, 4]).expand(*batch, 4))
    assert torch.equal(made.query_classes, torch.tensor([4, 7]).expand(*batch, 2))
    assert f"support=Features(frames={(*batch, 4, *clip)})" in repr(made)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"support": torch.zeros(5, 8, 4)},
            r"support has frames of shape \(5, 8, 4\), which must begin with .* \(4,\)",
        ),
        (
            {"query": torch.zeros(2, 9, 4)},
            r"support clips are Features with frames \(8, 4\) and .* frames \(9, 4\)",
        ),
        (
            {"query_labels": torch.zeros(1, 2, dtype=torch.int64)},
            r"query_labels has shape \(1, 2\), but classes \(3,\)",
        ),
        ({"query_labels": torch.zeros(2)}, "query_labels must be int64, found torch.float32"),
        ({"query_labels": torch.tensor([0, 3])}, r"query_labels must lie in 0\.\.2 .*found 0\.\.3"),
        ({"support_labels": torch.tensor([0, 1, -1, 2])}, r"found -1\.\.2"),
        ({"support_labels": torch.tensor([0, 0, 0, 2])}, "every class needs at least one support clip"),
        ({"classes": torch.tensor([7, 1, 8])}, r"must index the 8 class_names, found 1\.\.8"),
        ({"number": torch.zeros(1, dtype=torch.int64)}, r"number has shape \(1,\), expected \(\)"),
    ],
)
def test_contradictions_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        episode(**changes)


def test_stack_and_map_undo_each_other() -> None:
    first, second = episode(), episode()
    both = Episode.stack([first, second])
    assert both.support["frames"].shape == (2, 4, 8, 4)
    assert both.number.tolist() == [5, 5]
    again = both.map(lambda x: x[1])
    assert torch.equal(again.query["frames"], second.query["frames"])
    assert torch.equal(again.classes, second.classes)


def test_stack_refuses_two_splits() -> None:
    with pytest.raises(ValueError, match="different splits"):
        Episode.stack([episode(), episode(class_names=tuple("abcdefgh"))])


def test_to_moves_every_tensor() -> None:
    moved = episode().to("meta")
    assert {value.device.type for value in vars(moved).values() if isinstance(value, torch.Tensor)} == {"meta"}
    assert moved.class_names == episode().class_names
