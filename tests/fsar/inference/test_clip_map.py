"""A map of clips: a swapped label, a clip that is there twice and the nearest of other classes are found."""

from __future__ import annotations

import numpy as np
import pytest

from fsar.inference.clip_map import (
    Integers,
    Values,
    compare_clips,
    find_duplicates,
    find_suspects,
    nearness,
    neighbours_across,
    project,
)


@pytest.fixture
def clips() -> tuple[Values, Integers]:
    """Three well-parted classes of five clips, ``(15 4 8)``, all far from the origin."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 5)
    centres = 3 * np.eye(8)[:3]
    return 20 + centres[labels][:, None] + 0.3 * generator.standard_normal((15, 4, 8)), labels


def test_nothing_is_wrong_with_parted_classes(clips: tuple[Values, Integers]) -> None:
    frames, labels = clips
    alike = compare_clips(frames)
    np.testing.assert_allclose(np.diag(alike), 1)
    near = nearness(alike, labels, 3)
    assert (near.argmax(1) == labels).all()
    assert find_suspects(near, labels) == []
    assert find_duplicates(alike) == []
    x, y = frames[0] - frames.mean((0, 1)), frames[7] - frames.mean((0, 1))
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, y, strict=True)]
    assert alike[0, 7] == pytest.approx(np.mean(cosines))


def test_a_swapped_label_and_a_copy_are_found(clips: tuple[Values, Integers]) -> None:
    frames, labels = clips
    wrong = labels.copy()
    wrong[2] = 1  # a clip of the first class among those of the second
    frames[9] = frames[8] + 0.001
    alike = compare_clips(frames)
    suspects = find_suspects(nearness(alike, wrong, 3), wrong)
    assert [(one.clip, one.other) for one in suspects] == [(2, 0)]
    assert [(pair.first, pair.second) for pair in find_duplicates(alike)] == [(8, 9)]
    first, *_ = neighbours_across(alike, wrong, 2)
    assert 2 in first[:2]
    used = [i for pair in neighbours_across(alike, wrong, 7) for i in pair[:2]]
    assert len(used) == len(set(used))


def test_a_clip_without_others_of_its_class_is_not_suspected() -> None:
    frames = np.random.default_rng(1).standard_normal((4, 2, 5))
    labels = np.array([0, 0, 0, 1])
    near = nearness(compare_clips(frames), labels, 3)
    assert near[3, 1] == -np.inf
    assert (near[:, 2] == -np.inf).all()
    assert 3 not in [one.clip for one in find_suspects(near, labels)]


def test_the_plane_keeps_what_spreads_most(clips: tuple[Values, Integers]) -> None:
    frames, labels = clips
    places = project(frames)
    assert places.shape == (15, 2)
    spread = places.std(0)
    assert spread[0] >= spread[1] > 0
    within = np.mean([places[labels == c].std(0).mean() for c in range(3)])
    assert within < 0.3 * spread.mean()
    np.testing.assert_allclose(project(frames), places)
    assert project(np.ones((3, 2, 4))).tolist() == [[0, 0]] * 3
