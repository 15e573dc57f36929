"""All clips of a benchmark as one pool: which classes go where, which views are drawn, and how features are reduced."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from episodes.clips import Features
from episodes.parts import TaskOptions
from episodes.splits import Benchmark, Split
from fsar.commands.measure.rank import build_head
from fsar.ranking import Pool, StoredEncoder, divide_classes, pool_of

CLASSES = ("a", "b", "c", "d")


def split_of(name: str, classes: tuple[str, ...], clips: int, root: str = "/clips") -> Split:
    paths = tuple(f"{each}/{i}.mp4" for each in classes for i in range(clips))
    return Split(name, classes, paths, tuple(np.repeat(range(len(classes)), clips)), Path(root))


@pytest.fixture
def pool() -> Pool:
    """Four classes of five clips in two views, whose first channel is the clip's number and second that of the view."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(20, 2, 3, 6, generator=generator)
    frames[..., 0], frames[..., 1] = torch.arange(20.0)[:, None, None], torch.arange(2.0)[:, None]
    held = Features(frames=frames, patches=frames.unsqueeze(-2).repeat_interleave(4, -2))
    return Pool(split_of("all", CLASSES, 5), held=held)


def test_the_clips_of_all_splits_stand_in_one_by_their_names() -> None:
    test, train = split_of("test", ("z", "a"), 2, "/clips/test"), split_of("train", ("m",), 2, "/clips/train")
    found = pool_of(Benchmark("b", train, split_of("val", (), 0), test))
    assert found.class_names == ("a", "m", "z")
    assert found.paths == (
        "test/a/0.mp4",
        "test/a/1.mp4",
        "train/m/0.mp4",
        "train/m/1.mp4",
        "test/z/0.mp4",
        "test/z/1.mp4",
    )
    assert found.labels == (0, 0, 1, 1, 2, 2)
    assert found.root == Path("/clips")


def test_divisions_have_the_sizes_asked_for_and_differ_by_their_seed() -> None:
    own = {"train": [f"t{i}" for i in range(6)], "val": ["v"], "test": ["x", "y"]}
    found = [divide_classes(own, seed) for seed in range(4)]
    for each in found:
        assert [len(names) for names in each.values()] == [6, 1, 2]
        assert sorted(chain(*each.values())) == sorted(chain(*own.values()))
    assert len({tuple(each["test"]) for each in found}) > 1
    assert [len(names) for names in divide_classes(own, 0, [4, 2, 3]).values()] == [4, 2, 3]
    with pytest.raises(ValueError, match="add up to 9, found \\[1, 2, 3\\]"):
        divide_classes(own, 0, [1, 2, 3])


def test_episodes_hold_the_clips_of_their_classes_in_views_that_change(pool: Pool) -> None:
    part = pool.part("train", ("d", "b"))
    assert part.split.class_names == ("d", "b")
    sampler = TaskOptions(ways=2, shots=2, queries=3).draw(part.split, training=True)
    numbers = np.arange(8)
    episode = pool.episode(part, sampler, numbers, ("frames", "patches"))
    _, support, query = sampler.episodes(numbers)
    assert (episode.support["frames"][..., 0, 0] == torch.from_numpy(part.numbers[support])).all()
    assert (episode.query["frames"][..., 0, 0] == torch.from_numpy(part.numbers[query])).all()
    names = [CLASSES[int(n) // 5] for n in episode.support["frames"][0, :, 0, 0]]
    assert names == [part.split.class_names[int(c)] for c in episode.support_classes[0]]
    views = torch.cat([episode.support["frames"], episode.query["frames"]], 1)[..., 0, 1]
    assert set(views.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(views[:, :4], views[:, 4:8])  # a query's view says nothing of a support's
    again = pool.episode(part, sampler, numbers[3:4], ("frames",))
    assert torch.equal(again.query["frames"][0], episode.query["frames"][3])  # of its number alone


def test_components_are_those_of_the_training_frames_and_keep_distances_where_all_are_taken(pool: Pool) -> None:
    part = pool.part("train", ("a", "c"))
    frames: Tensor = pool.held["frames"]  # type: ignore[index]
    whole = pool.reduced(part, 6, ("frames", "patches"))
    found = whole.held["frames"]  # type: ignore[index]
    flat, turned = frames.flatten(0, 2), found.flatten(0, 2)
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(flat, flat), atol=0.02, rtol=1e-3)
    assert torch.allclose(found[part.numbers].flatten(0, 2).mean(0), torch.zeros(6), atol=1e-4)
    few = pool.reduced(part, 2, ("frames", "patches"))
    training = frames[part.numbers].flatten(0, 2)
    spread = torch.linalg.svdvals(training - training.mean(0))[:2]
    kept = few.held["frames"][part.numbers].flatten(0, 2)  # type: ignore[index]
    torch.testing.assert_close(torch.linalg.svdvals(kept), spread)
    torch.testing.assert_close(few.held["patches"][..., 1, :], few.held["frames"])  # type: ignore[index]
    with pytest.raises(ValueError, match="7 components were asked for, of 6 channels and 60 training frames"):
        pool.reduced(part, 7, ("frames",))


def test_an_encoder_of_stored_features_says_what_it_gives() -> None:
    bare = StoredEncoder(5)
    assert bare.frozen
    assert bare.gives == ("frames",)
    with pytest.raises(ValueError, match="MoLo reads patches, which the encoder does not give"):
        bare.check_needs(("frames", "patches"), "MoLo")
    assert StoredEncoder(5, (2, 3)).grid == (2, 3)
    assert StoredEncoder(5, (2, 3), patch_channels=7).widths == {"frames": 5, "patches": 7}
    head = build_head("strm", StoredEncoder(5, (4, 4), patch_channels=8))  # as a ViT's
    assert head.get_parameter("patches.gamma").shape == (1,)
    assert head.encoder.widths["patches"] == 8
