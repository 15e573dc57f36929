"""Shapes-crowd and Shapes-figures: what is drawn, and what is known of a clip beside its pixels."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from episodes.annotations.joints import ORDERS, read_joints
from episodes.annotations.regions import RegionPrompt, read_boxes
from episodes.shapes import Shapes, crowd, figures
from episodes.shapes.drawing import COLOURS
from episodes.splits import Folder


@pytest.mark.parametrize("world", [crowd, figures], ids=["crowd", "figures"])
def test_classes_are_many_disjoint_and_drawn_from_their_key_alone(world) -> None:
    assert {split: len(names) for split, names in world.CLASSES.items()} == {"train": 24, "val": 8, "test": 12}
    everything = list(itertools.chain(*world.CLASSES.values()))
    assert len(set(everything)) == len(everything)
    name = world.CLASSES["test"][0]
    first, again, other = world.render(name, 1), world.render(name, 1), world.render(name, 2)
    assert np.array_equal(first, again)
    assert 16 <= len(first) <= 24
    assert first.shape[1:] == (64, 64, 3)
    assert not np.array_equal(first[0], other[0])


def test_the_thing_in_the_box_has_the_colour_of_the_class_and_moves() -> None:
    name, colour = "a blue circle among other things", COLOURS["blue"]
    assert name in itertools.chain(*crowd.CLASSES.values())
    for key in range(4):
        frames, boxes = crowd.render(name, key), np.array(crowd.boxes(name, key))[:, 0].astype(int)
        assert len(boxes) == len(frames)
        for frame, (x1, y1, x2, y2) in zip(frames, boxes, strict=True):
            middle = frame[(y1 + y2) // 2, (x1 + x2) // 2] / 255
            assert np.abs(middle - colour).max() < 0.1, (key, middle)
        assert np.ptp(boxes[:, 0]) >= 4
        assert np.ptp(boxes[:, 1]) >= 4
        moved = np.abs(np.diff(frames.astype(int), axis=0)).max((0, 3)) > 8  # outside of all boxes nothing does
        x1, y1, x2, y2 = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
        moved[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = False
        assert not moved.any()


def test_things_and_colours_of_test_classes_occur_in_training_but_never_together() -> None:
    train, test = ([name.split()[1:3] for name in crowd.CLASSES[split]] for split in ("train", "test"))
    assert {colour for colour, _ in test} <= {colour for colour, _ in train}
    assert {kind for _, kind in test} <= {kind for _, kind in train}
    assert not {*map(tuple, test)} & {*map(tuple, train)}


def test_boxes_lie_beside_the_clips_and_can_be_tinted(tmp_path: Path) -> None:
    split = Shapes("crowd", str(tmp_path), (1, 1, 1), workers=1).load().val
    boxes = read_boxes((tmp_path / "crowd" / "boxes" / split.paths[0]).with_suffix(".json"))
    frames = torch.from_numpy(crowd.render(split.class_names[0], 0, "val", split.class_names[0], "000")).movedim(-1, 1)
    assert boxes.shape == (len(frames), 1, 4)
    assert not torch.equal(RegionPrompt("blue")(frames, boxes), frames)  # no box is refused


def test_a_figure_and_its_opposite_are_each_others_reversal() -> None:
    for forward, backward, _ in itertools.chain(*figures.DEEDS.values()):
        assert np.array_equal(figures.joints(forward, "key")[::-1], figures.joints(backward, "key"))
    assert np.array_equal(figures.render("bowing", 5)[::-1], figures.render("straightening up from a bow", 5))


def test_a_joint_goes_where_the_class_says() -> None:
    """In COCO's order: y down and z away from the camera, x of the figure's left to the right."""
    names = ORDERS["coco"].names
    left, right, ankle = (names.index(name) for name in ("left wrist", "right wrist", "right ankle"))

    def way(name: str, joint: int) -> np.ndarray:
        clips = [figures.joints(name, key) for key in range(8)]
        assert all(clip.shape[1:] == (17, 3) for clip in clips)
        return np.mean([clip[-1, joint] - clip[0, joint] for clip in clips], 0)

    raised = way("raising the left arm to the side", left)
    assert raised[0] > 1 > -10 > raised[1]
    assert np.abs(way("raising the left arm to the side", right)).max() < 4
    forwards = way("raising the left arm to the front", left)
    assert forwards[2] < -8
    assert forwards[1] < -8
    assert way("lifting the right leg to the front", ankle)[2] < -8
    assert way("squatting down", names.index("nose"))[1] > 5
    lengths = np.linalg.norm(np.diff(figures.joints("bowing", 1)[:, [5, 7, 9]], axis=1), axis=-1)
    np.testing.assert_allclose(lengths, lengths[:1].repeat(len(lengths), 0), rtol=0.02)  # bones keep their length


def test_joints_lie_beside_the_clips_and_are_clips_themselves(tmp_path: Path) -> None:
    split = Shapes("figures", str(tmp_path), (1, 1, 2), workers=1).load().test
    assert split.opposites == figures.OPPOSITES["test"]
    folder = tmp_path / "figures" / "joints"
    path = (folder / split.paths[1]).with_suffix(".npz")
    name = split.class_names[0]
    expected = figures.joints(name, 0, "test", name, "001")
    assert np.array_equal(read_joints(path, "coco").numpy(), expected)
    found = Folder(folder, seed=0, clips="joints").load()
    assert len(found.train.class_names) + len(found.val.class_names) + len(found.test.class_names) == 44
